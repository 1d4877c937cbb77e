"""The run folder: create and find it, and read and write what it holds."""
