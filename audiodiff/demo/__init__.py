"""The Gradio demo: one page for all models.

`build` lays out the page and starts no server: the same page serves the command line, a hosted app and the tests.
"""

from audiodiff.demo.page import build
from audiodiff.demo.serve import OPTIONS, launch

__all__ = ["OPTIONS", "build", "launch"]
