"""Rules that choose the positives of an image: other images that should get the same class."""
