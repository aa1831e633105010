"""Hits and assets as HTML: previews, templates, style sheet."""
