"""Choose the device and precision, configure the allocator, explain out-of-memory errors and speed up CPU training."""
