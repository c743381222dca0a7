"""The flow's velocity estimator in C kernels."""
