"""Fitted maps: NumPy alone, saved with the index."""
