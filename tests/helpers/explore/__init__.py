"""Images and servers for tests of ``sslkit explore``."""
