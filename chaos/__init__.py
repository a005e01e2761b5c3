"""Faults brought about on purpose against real processes and servers: `python -m chaos --help`."""
