"""Encoders: media in, feature rows out."""
