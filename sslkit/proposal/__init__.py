"""A recipe proposed for a folder of images: rules with their reasons, and the TOML text they come to."""
