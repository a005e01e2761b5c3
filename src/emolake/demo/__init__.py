"""A made-up bucket of calls and the servers to try the pipeline on it."""
