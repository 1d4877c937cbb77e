"""Measurements during training: losses, throughput, validation metrics and collapse metrics."""
