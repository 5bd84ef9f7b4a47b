"""Options of writing files, declared once for the Python API and the command line; nothing heavy is imported here."""

from dataclasses import dataclass

from audiodiff.options import option, options_of


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How audio files are written.

    Attributes:
        batch_size: clips per batch; the last bit of some samples depends on it.
        format: "wav" or "flac".
        overwrite: replace existing files, also those of others.

    Raises:
        UserError: a value that is out of range.
    """

    batch_size: int = option(8, kind="integer", help="Clips per batch; changes results by rounding only.", minimum=1)
    format: str = option("wav", kind="choice", help="Audio file format.", choices=("wav", "flac"))
    overwrite: bool = option(False, kind="flag", help="Replace existing files.")

    def __post_init__(self):
        """Check every option."""
        for name, declared in options_of(self).items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name)))
