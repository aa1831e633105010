"""What changed in the sources since the last job."""
