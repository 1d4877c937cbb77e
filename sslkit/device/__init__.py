"""Device, precision, memory and kernels."""
