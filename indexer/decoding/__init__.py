"""Decoding files in worker processes."""
