"""From stored features to an alignment, vectors and their indexes."""
