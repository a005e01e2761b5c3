"""The steps of the pipeline in order, as plain functions over arrays and tables."""
