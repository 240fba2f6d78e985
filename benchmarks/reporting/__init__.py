"""Summaries, comparisons, tables and plots of records."""
