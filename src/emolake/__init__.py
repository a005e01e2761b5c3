"""Recordings in object storage to daily tables of emotion in a DuckDB lakehouse."""
