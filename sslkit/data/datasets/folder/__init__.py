"""Image folders: finding, labelling, decoding and surveying their files."""
