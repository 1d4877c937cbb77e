"""Built-in optimizers, their parameter groups and their learning-rate schedule."""
