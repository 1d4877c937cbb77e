"""Choice of device and precision, memory, and faster kernels."""
