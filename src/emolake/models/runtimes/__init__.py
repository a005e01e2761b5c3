"""What executes a network: torch, or a graph in onnxruntime."""
