"""The run folder: create, find, read and write its files."""
