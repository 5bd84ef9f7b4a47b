"""Samplers: tables of steps, the loop that integrates them, and presets by published name."""
