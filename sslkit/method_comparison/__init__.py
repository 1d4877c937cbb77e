"""Compare methods on one data set, with equal training time or equally many views (``sslkit methods compare``)."""
