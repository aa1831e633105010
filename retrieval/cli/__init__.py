"""The commands that read an index."""
