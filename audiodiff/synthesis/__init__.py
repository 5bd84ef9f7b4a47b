"""What users hold: a composed model, the `Vocoder` around it, and batch rendering."""
