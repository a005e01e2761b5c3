"""The trainers of `emolake train`: one file for each, and one line for each of its names in `trainer_names`."""
