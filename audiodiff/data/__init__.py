"""Corpora on disk: prepared, described by a manifest, audited, and read as crops that depend on (seed, draw) alone."""
