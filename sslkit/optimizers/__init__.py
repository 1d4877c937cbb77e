"""Built-in optimizers, their parameter groups and their schedule."""
