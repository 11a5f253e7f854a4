"""Read models: the projector with its checkpoints and rebuilds, its writers, and reading."""
