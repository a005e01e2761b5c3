"""Classifier families behind one protocol.

What a command may import before it knows that a model runs stays light: `registry`, `inference`, `protocol` and every
module of `families` that the registry names load neither torch nor transformers, librosa, scikit-learn, onnxruntime or
TensorFlow when they are imported, nor when a model is described and fingerprinted. So a family is

- its own module, `families/NAME.py`: the options, and the class with `describe`, `load` and `predict`;
- one module or more for all that needs torch, `families/NAME_network.py` as a rule: it imports torch at its top, and is
  imported inside of `load` and `predict` alone. Types of it, or of torch, are imported under `TYPE_CHECKING`.

A line or two of tensor arithmetic may stay in the class, behind an `import torch` inside of the method; gradients are
switched off there by `with torch.inference_mode():`, since a decorator would need torch at the top.
"""
