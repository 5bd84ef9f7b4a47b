"""Conditioners, one per file: from a request or a batch to the conditioning inputs of the network."""
