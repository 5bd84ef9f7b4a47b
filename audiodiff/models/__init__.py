"""Models and how they are saved: composed models, codecs, checkpoints, and the registry of model types."""
