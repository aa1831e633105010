"""Alignment methods, one in each module."""
