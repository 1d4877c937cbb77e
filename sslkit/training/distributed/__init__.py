"""Training in several processes: launch, connect and stop them."""
