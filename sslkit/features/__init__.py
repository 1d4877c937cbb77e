"""Extract features of images with a frozen backbone, cache the features, and find neighbours and clusters."""
