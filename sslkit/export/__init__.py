"""Export of a run's network to other libraries, with metadata and a model card."""
