"""Code shared by the alignment methods that train by gradient descent."""
