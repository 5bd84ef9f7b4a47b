"""Training tasks, one per file: what a training step minimizes."""
