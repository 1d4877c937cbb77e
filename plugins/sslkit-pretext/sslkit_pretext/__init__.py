"""Methods that train a backbone with a pretext task: rotation, jigsaw puzzles and colourisation."""
