"""One training step: its inputs on the device, the step itself, and the step captured as a CUDA graph."""
