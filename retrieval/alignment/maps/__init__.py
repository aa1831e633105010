"""Fitted maps: NumPy only, saved with the index."""
