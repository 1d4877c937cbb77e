"""Export the network of a run to other libraries, with metadata and a model card."""
