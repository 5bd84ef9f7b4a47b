"""Options of rendering, declared once for the Python API and the command line; nothing heavy is imported here."""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

from audiodiff.audio.encoding import BIT_DEPTHS, FORMATS, Encoding
from audiodiff.errors import UserError
from audiodiff.options import CheckedOptions, option, options_of
from audiodiff.pipelines.options import GenerationConfig, SamplingOptions, SpeechOptions, SynthesisOptions

OptionsT = TypeVar("OptionsT", bound=SamplingOptions)


@dataclass(frozen=True, kw_only=True)
class RenderOptions(SpeechOptions, SynthesisOptions, GenerationConfig):
    """Options of all types of models that render, of which each has its own.

    Attributes:
        steps, sampler, seed, adapters: of all.
        consistency, setting: of vocoders.
        speaker, reference, rate, pitch, energy, temperature: of voices.
        conditions, seconds, loop and others of `GenerationConfig`: of audio generators.
    """

    def of(self, config: type[OptionsT], model: str) -> OptionsT:
        """The options of one type of model.

        Args:
            config: their class.
            model: what errors call the model.

        Raises:
            UserError: an option of another type is set.
        """
        known, conditions = options_of(config), self.conditions
        for one in fields(self):
            if one.name in ("conditions", *known, *conditions) or getattr(self, one.name) == one.default:
                continue
            raise _foreign(one.name, getattr(self, one.name), model)
        values = {name: getattr(self, name) for name in known}
        if "conditions" in {one.name for one in fields(config)}:
            return config(**values, conditions=conditions)
        for name, value in conditions.items():
            if name not in known:
                raise _foreign(name, value, model)
        return config(**values)


def _foreign(name: str, value: object, model: str) -> UserError:
    return UserError(f"{name} {value!s:.60}", f"{model} has no such option", "leave it out")


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How audio files are written.

    Attributes:
        format: "wav", "flac" or "ogg".
        overwrite: replace existing files, also those of others.
        watermark: embed a watermark (`audio.watermark`).
        name: of files, without suffix (`rendering.names`).

    Raises:
        UserError: a value that is out of range.
    """

    format: str = option("wav", kind="choice", help="Audio file format.", choices=FORMATS)
    overwrite: bool = option(False, kind="flag", help="Replace existing files.")
    watermark: bool = option(
        False,
        kind="flag",
        help="Embed an inaudible watermark, which `audiodiff info` finds in the file.",
        flag="--watermark/--no-watermark",
    )
    name: str = option(
        "{name}",
        kind="text",
        help="File name without suffix, such as {speaker}/{number:05d}: {name} is the input's, {number} counts inputs, "
        "others are the options of a table's row.",
    )

    def __post_init__(self):
        """Check every option."""
        for name, declared in options_of(self).items():
            object.__setattr__(self, name, declared.check(name, getattr(self, name), getattr(type(self), name) is None))

    def record(self) -> dict[str, Any]:
        """Sidecar entries of what decides how samples are stored; None: as without the option."""
        return {"watermark": self.watermark or None}


@dataclass(frozen=True, kw_only=True)
class FinishOptions(WriteOptions):
    """How audio files are finished (`rendering.finishing`) and written.

    Attributes:
        format, overwrite, watermark, name: as of `WriteOptions`.
        bit_depth, dither: as of `audio.writing.Encoding`.
        sample_rate: Hz that files are resampled to; None: the model's.
        loudness: that each clip is normalized to, in LUFS, as far as its peak stays within full scale; None: unchanged.
    """

    bit_depth: str = option("16", kind="choice", help="Bits per sample; 32f is floating point.", choices=BIT_DEPTHS)
    dither: bool = option(False, kind="flag", help="Add triangular dither before rounding to integers.")
    sample_rate: int | None = option(
        None,
        kind="integer",
        help="Sample rate to resample files to.",
        unit="Hz",
        minimum=1000,
        maximum=384_000,
        default_help="the model's",
    )
    loudness: float | None = option(
        None,
        kind="number",
        help="Integrated loudness to normalize each clip to, such as -23; peaks stay within full scale.",
        unit="LUFS",
        minimum=-70,
        maximum=0,
        default_help="unchanged",
    )

    @property
    def encoding(self) -> Encoding:
        """How samples are stored."""
        return Encoding(self.bit_depth, self.dither)

    def record(self) -> dict[str, Any]:
        """Sidecar entries of what decides how samples are stored; None: as without the option."""
        return super().record() | {
            "bit_depth": None if self.bit_depth == "16" else self.bit_depth,
            "dither": self.dither or None,
            "loudness": self.loudness,
            "output_rate": self.sample_rate,
        }


@dataclass(frozen=True, kw_only=True)
class FileOptions(FinishOptions):
    """How audio files are synthesized in batches, finished and written.

    Attributes:
        format, overwrite, watermark, name, bit_depth, dither, sample_rate, loudness: as of `FinishOptions`.
        batch_size: clips per batch; the last bit of some samples depends on it.
        batch_memory: in GB, that a batch may take by an estimate: long clips are batched in smaller numbers.
    """

    batch_size: int = option(8, kind="integer", help="Clips per batch; changes results by rounding only.", minimum=1)
    batch_memory: float = option(
        4.0,
        kind="number",
        help="Memory that a batch may take; long clips go in smaller batches.",
        unit="GB",
        above=0,
        maximum=1e6,
    )

    @classmethod
    def one_by_one(cls, files: WriteOptions) -> "FileOptions":
        """These options for files that are worked on one after the other."""
        own = options_of(FinishOptions).keys() & options_of(files)
        return cls(**{name: getattr(files, name) for name in own}, batch_size=1)


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions(CheckedOptions):
    """Where clips are rendered (`rendering.executors`).

    Attributes:
        executor: its name.
        workers: processes of one thread each; None: of the local one this process, with all threads, of Ray as many as
            the cluster has processors.
        address: of a Ray cluster; None: one on this machine.
    """

    executor: str = option("local", kind="choice", help="Where to render.", choices=("local", "ray"))
    workers: int | None = option(
        None,
        kind="integer",
        help="Processes of one thread each; the same files for any number.",
        minimum=1,
        maximum=1024,
        default_help="this process, with all its threads; of ray, the processors of the cluster",
    )
    address: str | None = option(
        None,
        kind="text",
        help="Address of a Ray cluster, such as auto or ray://host:10001.",
        default_help="a cluster of this machine",
    )
