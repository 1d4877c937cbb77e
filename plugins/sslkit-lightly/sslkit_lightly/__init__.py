"""Components on top of lightly."""
