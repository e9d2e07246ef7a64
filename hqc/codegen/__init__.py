"""Kernel models to C libraries: kernels in TVM TIR, an entry in C, weights as they are stored."""
