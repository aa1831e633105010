"""Batch evaluation: queries and gallery from the index itself, ranks, measures, intervals, reports."""
