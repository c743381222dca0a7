"""The code model in C kernels."""
