"""The Gradio demo: one page per model type.

`build` lays out the page and starts no server: the same page serves the command line, a hosted app and the tests.
"""

from audiodiff.demo.serve import OPTIONS, build, launch

__all__ = ["OPTIONS", "build", "launch"]
