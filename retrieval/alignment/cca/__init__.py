"""Canonical correlation analysis, with settings chosen by cross-validation."""
