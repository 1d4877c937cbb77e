"""Components: what is installed (never imported to find out), and how one is loaded."""
