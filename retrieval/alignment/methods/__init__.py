"""Alignment methods, one a module."""
