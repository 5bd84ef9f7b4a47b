"""The vocoder of the page, which is loaded once, at the first request."""

from functools import cached_property
from pathlib import Path
from threading import Lock

from audiodiff.errors import UserError
from audiodiff.models.checkpoint import locate, shipped, type_of
from audiodiff.models.vocoder_model import VocoderModel
from audiodiff.pipelines.vocoder import Vocoder


def newest(runs: Path) -> Path | None:
    """The newest vocoder in `runs/<recipe>/<date_time>/model`; None if there is none."""
    exported = sorted(runs.glob("*/*/model/config.json"), key=lambda config: config.stat().st_mtime)
    vocoders = [config.parent for config in exported if type_of(config.parent) == VocoderModel.TYPE]
    return vocoders[-1] if vocoders else None


class LazyVocoder:
    """A vocoder that is loaded at the first call; safe to call from several threads.

    Args:
        folder: the checkpoint; None for the newest below `runs` at the first request, else a shipped vocoder.
        runs: where training puts its runs.
        device: "cpu", "cuda", ...
    """

    def __init__(self, folder: Path | None, runs: Path, device: str):
        self.chosen, self.runs, self.device = folder, runs, device
        self._lock = Lock()

    @property
    def folder(self) -> Path:
        """The checkpoint folder.

        Raises:
            UserError: no model has been exported yet, and none is shipped.
        """
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
