"""Vector indexes: nearest neighbours by inner product."""
