"""Time grids: at which times a sampler evaluates the network."""
