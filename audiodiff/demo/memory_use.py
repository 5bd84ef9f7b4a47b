"""Memory of a page that many visitors use for a long time: it must not grow with their number.

Two things grow otherwise. Gradio keeps the components of each visit, and replaces one whenever an endpoint updates it
or skips it; the replacement gets a new number, by which the next value is remembered as that of one more component. And
the allocator of glibc gives threads arenas of their own, in which what is freed is rarely returned to the system.
"""

import ctypes
import sys
from contextlib import suppress
from typing import Any

import gradio as gr

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


class NumberedBlocks(dict[int, Any]):
    """Components of a page by their numbers; what replaces one gets its number."""

    def __setitem__(self, number: int, block: Any) -> None:
        """Set a component, which gets the number."""
        block._id = number
        super().__setitem__(number, block)


def keep_numbers(page: gr.Blocks) -> None:
    """Let components of all visits of a page keep their numbers when they are replaced."""
    page.default_config.blocks = NumberedBlocks(page.default_config.blocks)


def limit_arenas() -> None:
    """Let all threads of the process share few arenas; does nothing where the allocator is not glibc's."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, _ARENAS)
