"""Checks of the machine and the installation, for ``sslkit doctor``."""
