"""Keys of the metadata that models carry from stage to stage."""

LAYER = "hqc.layer"
"""Of a Conv, Gemm or MatMul of a dialect model, and of the codes of weights: the layer's name."""
