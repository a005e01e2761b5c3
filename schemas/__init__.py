"""Columns, tables, labels and records, each declared once."""
