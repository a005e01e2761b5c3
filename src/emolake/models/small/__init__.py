"""The shipped classifier for whoever needs speed: weights, configuration and model card."""
