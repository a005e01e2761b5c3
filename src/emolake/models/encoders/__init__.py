"""Speech encoders of transformers, as several families use them."""
