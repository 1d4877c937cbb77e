"""Batched views: random crops, colour and blur for a whole batch at once, on whatever device it is."""
