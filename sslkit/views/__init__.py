"""Batched views: random crops, affine maps, colour and blur for a whole batch at once, on the images' device."""
