"""What users hold: `Vocoder` and `AudioGenerator`, streaming, and compiled sampling."""
