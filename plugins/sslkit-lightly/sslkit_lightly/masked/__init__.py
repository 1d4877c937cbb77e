"""Methods that hide patches of an image from a vision transformer: MAE, SimMIM, iBOT, DINOv2 and I-JEPA."""
