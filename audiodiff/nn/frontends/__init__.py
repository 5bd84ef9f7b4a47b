"""Front ends: samples to frames and back."""
