"""Training in several processes: launch them, connect them, stop them."""
