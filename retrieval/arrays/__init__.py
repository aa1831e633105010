"""Arrays that are read lazily, and the files that hold them."""
