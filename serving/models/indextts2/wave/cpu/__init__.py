"""The vocoder in C kernels."""
