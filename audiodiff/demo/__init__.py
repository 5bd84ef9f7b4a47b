"""The Gradio demo: one page per model type.

`build` makes the page and nothing else: no server is started, so that the same page serves the command line, a hosted
app and the tests.
"""

from audiodiff.demo.serve import OPTIONS, build, launch

__all__ = ["OPTIONS", "build", "launch"]
