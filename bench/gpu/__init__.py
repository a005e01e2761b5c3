"""The benches of a GPU: `bench/gpu/run.sh`."""
