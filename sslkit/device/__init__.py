"""Choose the device and the precision, configure the allocator, explain out-of-memory errors, speed up gradients."""
