"""Pretext tasks, methods with their own objective: rotation, jigsaw and colourisation."""
