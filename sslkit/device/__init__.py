"""Device, precision, memory allocator, out-of-memory errors, and faster gradients of small feature maps."""
