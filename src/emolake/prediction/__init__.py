"""Emotions of files, without the lake."""
