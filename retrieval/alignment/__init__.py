"""Alignment: fitted maps from every encoder's features into one space."""
