"""Training with Lightning: the module, the data module, callbacks and optimization."""
