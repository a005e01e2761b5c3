"""Faults caused on purpose against real processes and servers: `python -m chaos --help`."""
