"""Evaluation: held-out clips are synthesised by every system, judged, and laid out in one report."""
