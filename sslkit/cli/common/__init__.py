"""Code that the commands share: console output, options, progress and summaries."""
