"""Searching an opened index: query vectors, nearest neighbours, fusion of rankings, hits."""
