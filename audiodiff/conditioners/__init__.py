"""Conditions: what a network is conditioned on, one condition a file."""
