"""Readers of folders, tables and caption files."""
