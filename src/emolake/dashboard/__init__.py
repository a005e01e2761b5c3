"""A live page over the lake, in the browser of the machine that it runs on."""
