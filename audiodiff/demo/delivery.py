"""What an endpoint yields: steps of a request, then its clips, files and settings; or one sentence about an error."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import gradio as gr

from audiodiff.demo.clip_files import written
from audiodiff.demo.clip_list import failed, listed
from audiodiff.demo.preview import Preview
from audiodiff.demo.request import Result
from audiodiff.demo.responses import show_errors
from audiodiff.pipelines.pipeline import Progress

Output = tuple[Any, Any, Any]  # of a `ClipList`, of files, of settings
_NOTHING: Output = (gr.skip(), gr.skip(), gr.skip())


def deliver(begin: Callable[[], Generator[Any, None, tuple[Result, str]]], name: str) -> Iterator[Output]:
    """Outputs of a request.

    Args:
        begin: starts it; yields outputs of its steps, and returns its result and the format of files.
        name: that file names begin with.

    Raises:
        gr.Error: one sentence, which the list of clips shows, too.
    """
    try:
        with show_errors():
            result, format = yield from begin()
            with written(result.clips, result.settings, name, format) as (files, every):
                yield listed(result.clips, files), [str(file) for file in every], result.settings
    except gr.Error as error:
        yield failed(str(error.message)), None, None
        raise


def preview_of(audible: bool = False) -> Callable[[Progress], Output]:
    """Outputs of the steps of one request; `audible`: with sound."""
    preview = Preview(audible)

    def shown(progress: Progress) -> Output:
        value = preview(progress)
        return _NOTHING if value is None else (value, gr.skip(), gr.skip())

    return shown
