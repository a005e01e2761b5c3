"""Classifier families, one a file."""
