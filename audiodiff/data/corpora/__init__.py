"""Corpora by name, one family a file: each opens as a list of recordings with their source and license.

Adding one takes a function that returns a `Corpus` and a line in `registry.CORPORA`.
"""
