"""Options of rendering, declared once for the Python API and the command line; nothing heavy is imported here."""

from dataclasses import dataclass, fields
from typing import TypeVar

from audiodiff.errors import UserError
from audiodiff.options import CheckedOptions, option, options_of
from audiodiff.pipelines.options import SamplingOptions, SpeechOptions, SynthesisOptions

OptionsT = TypeVar("OptionsT", bound=SamplingOptions)


@dataclass(frozen=True, kw_only=True)
class RenderOptions(SpeechOptions, SynthesisOptions):
    """Options of all types of models that render, of which each has its own.

    Attributes:
        steps, sampler, seed: of all.
        consistency, setting: of vocoders.
        speaker, reference, rate, pitch, energy, guidance_scale, temperature: of voices.
    """

    def of(self, config: type[OptionsT], model: str) -> OptionsT:
        """The options of one type of model.

        Args:
            config: their class.
            model: what errors call the model.

        Raises:
            UserError: an option of another type is set.
        """
        known = options_of(config)
        for one in fields(self):
            if one.name not in known and getattr(self, one.name) != one.default:
                problem = f"{model} has no such option"
                raise UserError(f"{one.name} {getattr(self, one.name)}", problem, "leave it out")
        return config(**{name: getattr(self, name) for name in known})


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How audio files are written.

    Attributes:
        format: "wav", "flac" or "ogg".
        overwrite: replace existing files, also those of others.

    Raises:
        UserError: a value that is out of range.
    """

    format: str = option("wav", kind="choice", help="Audio file format.", choices=("wav", "flac", "ogg"))
    overwrite: bool = option(False, kind="flag", help="Replace existing files.")

    def __post_init__(self):
        """Check every option."""
        for name, declared in options_of(self).items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class FileOptions(WriteOptions):
    """How audio files are synthesized in batches and written.

    Attributes:
        batch_size: clips per batch; the last bit of some samples depends on it.
        format, overwrite: as of `WriteOptions`.
    """

    batch_size: int = option(8, kind="integer", help="Clips per batch; changes results by rounding only.", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions(CheckedOptions):
    """Where clips are rendered (`rendering.executors`).

    Attributes:
        executor: its name.
        workers: processes of one thread each; None: this process, with all threads.
    """

    executor: str = option("local", kind="choice", help="Where to render.", choices=("local",))
    workers: int | None = option(
        None,
        kind="integer",
        help="Processes of one thread each; the same files for any number.",
        minimum=1,
        maximum=1024,
        default_help="this process, with all its threads",
    )
