"""Features of images: extract them with a frozen backbone, cache them, find neighbours and clusters among them."""
