"""What all maps trained by gradients share."""
