"""``sslkit explore``: a local server on which users see all images of a run and correct its classes."""
