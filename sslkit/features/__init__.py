"""Features of images: extract them with a frozen backbone, cache them, and find neighbours among them."""
