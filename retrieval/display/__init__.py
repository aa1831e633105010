"""Hits and assets as HTML: previews, templates, styles."""
