"""What is measured during training: losses, throughput, validation metrics and collapse."""
