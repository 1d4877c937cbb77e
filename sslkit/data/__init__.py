"""Image stores, the training loader, random streams, splits and the built-in data sets."""
