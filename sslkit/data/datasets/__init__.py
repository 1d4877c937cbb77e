"""The built-in data sets, each behind an entry point of its own."""
