"""Classifier families behind one protocol."""
