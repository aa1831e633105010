"""Canonical correlation analysis and the choice of its settings on held-out folds."""
