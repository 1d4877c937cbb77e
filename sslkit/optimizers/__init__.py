"""The optimizers that come with sslkit, and the learning-rate schedule that they share."""
