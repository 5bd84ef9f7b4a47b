"""Models and their checkpoints: vocoder, audio generator, codec, and the registry of model types."""
