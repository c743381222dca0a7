"""The voice on a CPU in C kernels: matrix products of 16-bit integers, one row after another."""
