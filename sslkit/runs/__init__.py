"""Create and find run folders, and read and write their files."""
