"""Text to phonemes: symbol tables, normalization, lexicons, one front end per language."""
