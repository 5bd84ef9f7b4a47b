"""Pipelines: trained models in use (`Vocoder`, `AudioGenerator`), streaming, compiled sampling."""
