"""Text in words: numbers, dates, units and abbreviations as they are spoken."""

from audiodiff.extras import load_module


def normalize(text: str) -> str:
    """A text with words for everything that is not one."""
    return load_module("hibari.g2p.normalize").normalize(text)
