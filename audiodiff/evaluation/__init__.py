"""Evaluation: held-out clips are synthesized by every system, judged, and laid out in one report."""
