"""The shipped default classifier: weights, configuration and model card."""
