"""Fuse the vectors of an item's modalities into one vector."""
