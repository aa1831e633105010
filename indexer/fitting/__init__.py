"""Fitting the alignment to stored features, and building the vector indexes."""
