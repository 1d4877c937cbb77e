"""Build the components of a recipe and connect them."""
