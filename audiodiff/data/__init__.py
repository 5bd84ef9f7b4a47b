"""Corpora on disk: preparation, manifests, audits, and random crops that depend on (seed, draw) only."""
