"""The web server of ``sslkit explore``: its requests, its protection, and the loop that runs it."""
