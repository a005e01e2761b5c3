"""How a run works: shards, rows, processes, scheduling and the record of a run."""
