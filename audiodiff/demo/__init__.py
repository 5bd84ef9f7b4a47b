"""The demo: one page that turns a recording or a saved mel back into sound, to be listened to beside the original.

`build` makes the page and nothing else: no model is loaded before the first request, no server is started, so that the
same page serves the command line, a hosted app and the tests.
"""

from audiodiff.demo.page import build, launch

__all__ = ["build", "launch"]
