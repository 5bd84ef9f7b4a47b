"""Training with Lightning: the module, tasks, data modules, callbacks."""
