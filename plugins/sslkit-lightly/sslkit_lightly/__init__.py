"""sslkit components that build on lightly."""
