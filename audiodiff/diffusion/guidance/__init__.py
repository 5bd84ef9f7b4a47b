"""Guidance: denoisers around denoisers that steer towards a condition."""
