"""Rules that choose positives: images that should get the same class as an image."""
