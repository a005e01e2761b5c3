"""Labelled data, figures with their intervals, plots and reports."""
