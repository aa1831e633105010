"""Search in an open index: query vectors, nearest neighbours, rank fusion, hits."""
