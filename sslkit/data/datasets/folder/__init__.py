"""A folder of images: finding them, reading labels from folders, decoding them once."""
