"""Write and check checkpoint files, and compare them with the recipe and data of the run to resume."""
