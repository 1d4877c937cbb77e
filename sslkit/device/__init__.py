"""Choose device and precision, configure the memory allocator, explain out-of-memory errors, speed up CPU training."""
