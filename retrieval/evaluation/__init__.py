"""Batch evaluation: queries and gallery from the index, ranks, measures, confidence intervals, reports."""
