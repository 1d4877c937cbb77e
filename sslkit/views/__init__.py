"""Make views of a batch: random crops, affine maps, colour and blur for all images at once, on the images' device."""
