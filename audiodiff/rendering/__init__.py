"""Batch rendering: jobs, sidecars, and files that survive an interruption."""
