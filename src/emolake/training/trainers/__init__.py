"""What `emolake train` can train: one file for each kind, and one line for each name in `training.protocol`."""
