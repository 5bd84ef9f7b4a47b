"""Which model the page plays, and when it is loaded: at the first request, once."""

from functools import cached_property
from pathlib import Path
from threading import Lock

from audiodiff.errors import UserError
from audiodiff.models.checkpoint import locate, shipped, type_of
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.vocoder import Vocoder


def newest(runs: Path) -> Path | None:
    """The vocoder written last under `runs/<recipe>/<date_time>/model`, None where there is none."""
    exported = sorted(runs.glob("*/*/model/config.json"), key=lambda config: config.stat().st_mtime)
    vocoders = [config.parent for config in exported if type_of(config.parent) == VocoderModel.TYPE]
    return vocoders[-1] if vocoders else None


class LazyVocoder:
    """A vocoder that is loaded when it is first asked for; safe to ask from several threads.

    Args:
        folder: the checkpoint; None is the newest below `runs` at the time of the first request, or, where there is
            none, a shipped vocoder.
        runs: where training puts its runs.
        device: "cpu", "cuda", ...
    """

    def __init__(self, folder: Path | None, runs: Path, device: str):
        self.chosen, self.runs, self.device = folder, runs, device
        self._lock = Lock()

    @property
    def folder(self) -> Path:
        """The checkpoint folder; UserError where nothing has been exported yet."""
        folder = self.chosen or newest(self.runs) or next(map(locate, shipped(VocoderModel.TYPE)), None)
        if folder is None:
            raise UserError(
                f"{self.runs}/",
                "no exported model yet",
                "train one with `make speech`, or `audiodiff demo --model DIR`",
            )
        return folder

    def __call__(self) -> Vocoder:
        """The loaded vocoder."""
        with self._lock:
            return self._loaded

    @cached_property
    def _loaded(self) -> Vocoder:
        self.chosen = self.folder
        return Vocoder.from_pretrained(self.chosen, device=self.device)
