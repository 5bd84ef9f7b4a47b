"""Batch rendering to files: jobs, sidecar files, resuming after an interruption."""
