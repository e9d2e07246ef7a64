"""Choosing each layer's bits after training: one method per file, which registers itself.

Methods work on a `Network`, which a torch module and an ONNX model both are, and need no torch.
"""
