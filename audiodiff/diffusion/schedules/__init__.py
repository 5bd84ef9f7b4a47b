"""Noise schedules: how much signal and noise there is at time t."""
