"""Read, override, check and resolve recipes, the TOML files that describe a run."""
