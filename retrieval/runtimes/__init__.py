"""Runtimes: what computes an encoder's network, and where."""
