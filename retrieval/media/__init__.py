"""Decoding: a file or bytes becomes pixels, samples or frames, within limits."""
