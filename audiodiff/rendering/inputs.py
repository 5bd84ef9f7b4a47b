"""Inputs of rendering: from the paths on a command line to clips with a name, an id and a mel.

An input is a recording, a saved mel, a folder of these (searched recursively, links included), a manifest, or a table
with a column `input` (`rendering.tables`). A clip's
*name* is its path below that folder or manifest, without suffix; the rendering has the same name below the output
folder. Its *id*, which its seed depends on, is that name, or its id in the manifest: neither the other inputs nor their
order matter.
"""

import hashlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from torch import Tensor

from audiodiff.audio import io
from audiodiff.audio.mel import MelSpec, convert
from audiodiff.audio.mel import file as mel_file
from audiodiff.audio.mel.conversion import convert_mel
from audiodiff.audio.reading.folder import files_below, obstacle
from audiodiff.audio.reading.shard import open_file
from audiodiff.data.manifest import Manifest
from audiodiff.diffusion.noise import clip_seed
from audiodiff.errors import UserError, first_line
from audiodiff.pipelines.inputs import mel_tensor
from audiodiff.pipelines.options import SamplingOptions, SynthesisOptions
from audiodiff.pipelines.seeds import take_seed
from audiodiff.pipelines.vocoder import Vocoder
from audiodiff.remote import beside, errors_of, exists, fetch, is_folder, is_remote, location
from audiodiff.rendering.batch_place import BatchPlace
from audiodiff.rendering.tables import Columns, check_name, is_manifest, read_table

_EXTENSIONS = (*io.EXTENSIONS, *mel_file.EXTENSIONS)


@dataclass(frozen=True)
class RenderInput:
    """One clip to render.

    Attributes:
        path: of the recording or saved mel.
        id: that its seed depends on.
        name: of the rendering, relative to the output folder, without suffix.
        options: of a table's row, in place of those of all clips.
        local: the copy of a remote file that is read.
        take: its number among the takes of the input.
        clip_seed: in place of that of the seed, the id and the take.
        batch: place that it is to be sampled at again.
    """

    path: Path
    id: str
    name: PurePosixPath
    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    local: Path | None = None
    take: int = 0
    clip_seed: int | None = None
    batch: BatchPlace | None = None

    def seed_of_noise(self, seed: int) -> int:
        """The seed of its noise; `seed` is that of all clips."""
        return take_seed(clip_seed(seed, self.id), self.take) if self.clip_seed is None else self.clip_seed

    def takes(self, count: int) -> "list[RenderInput]":
        """Several takes, named NAME-0, NAME-1 and so on; itself for one."""
        if count == 1:
            return [self]
        names = [self.name.with_name(f"{self.name.name}-{take}") for take in range(count)]
        return [replace(self, name=name, take=take) for take, name in enumerate(names)]

    @property
    def file(self) -> Path:
        """The file that is read."""
        return self.local or self.path

    def fetched(self, folder: Path) -> "RenderInput":
        """With copies of remote files in a local folder.

        Raises:
            UserError: a file cannot be read.
        """
        if not is_remote(self.path):
            return self
        own = Path(tempfile.mkdtemp(dir=folder))
        spec_file = self.path.with_suffix(".melspec.json")
        with errors_of(self.path):
            if self.is_mel and spec_file.is_file():
                fetch(spec_file, own)
        return replace(self, local=fetch(self.path, own))

    @property
    def is_mel(self) -> bool:
        """Whether it is a saved mel, not a recording."""
        return self.path.suffix.lower() in mel_file.EXTENSIONS

    def digest(self, mel_spec: MelSpec | None = None) -> str:
        """SHA-256 of the file, and for a mel also of its spec.

        Raises:
            UserError: a file cannot be read.
        """
        try:
            with open_file(self.file) as file:
                digest = hashlib.file_digest(file, "sha256")
            spec_file = mel_file.spec_path(self.file)
            if self.is_mel and spec_file.is_file():
                digest.update(spec_file.read_bytes())
        except OSError as error:
            raise UserError(self.path, f"cannot be read ({error.strerror})") from error
        if self.is_mel and mel_spec is not None:
            digest.update(json.dumps(mel_spec.to_dict()).encode())
        return digest.hexdigest()

    def frames(self, vocoder: Vocoder) -> int:
        """Approximate number of frames, for batches of similar length: from the header, else by decoding."""
        if self.is_mel:
            return mel_file.mel_frames(self.file)
        with io.AudioFile(self.file) as file:
            return round(file.seconds * vocoder.sample_rate / vocoder.spec.hop_length)

    def load(self, vocoder: Vocoder, mel_spec: MelSpec | None = None, approximate: bool = False) -> tuple[Tensor, int]:
        """Its mel (M, F) in the vocoder's spec, and the number of samples of its rendering.

        Args:
            vocoder: that renders it.
            mel_spec: of saved mels whose files carry none.
            approximate: also convert a mel of other filters or another transform (`audio.mel.conversion`).

        Raises:
            UserError: the file cannot be read, is a mel of a spec that cannot be converted, or far above full scale.
        """
        if not self.is_mel:
            recording = io.read(self.file, vocoder.sample_rate)
            mel = mel_tensor(vocoder.mel(recording), vocoder.spec, str(self.path))
            return mel, recording.samples.shape[-1]
        mel, spec = mel_file.load_mel(self.file, mel_spec)
        if spec != vocoder.spec:
            mel = self._convert(mel_tensor(mel, spec, str(self.path)), spec, vocoder.spec, approximate)
        return mel_tensor(mel, vocoder.spec, str(self.path)), mel.shape[-1] * vocoder.spec.hop_length

    def _convert(self, mel: Tensor, source: MelSpec, target: MelSpec, approximate: bool) -> Tensor:
        if approximate:
            return convert_mel(mel, source, target, approximate=True).mel
        try:
            return convert(mel, source, target)
        except UserError as error:
            fix = "add --convert-mel, or compute it from audio with this spec"
            raise UserError(self.path, error.problem, fix) from error


def find_inputs(
    inputs: Iterable[str | Path],
    out: str | Path,
    report: Callable[[UserError], None],
    options: type[SamplingOptions] = SynthesisOptions,
) -> list[RenderInput]:
    """All clips of these inputs, sorted by name.

    Args:
        inputs: recordings, saved mels, folders, manifests (`.jsonl`), tables.
        out: output folder; files below it are no inputs of a folder around it.
        report: called with the error of every input that is skipped.
        options: what the columns of a table may be.
    """
    sources: dict[tuple[Path, PurePosixPath], RenderInput] = {}
    for path in map(location, inputs):
        try:
            for source in _expand(path, location(out), report, options):
                _add(source, sources, report)
        except UserError as error:
            report(error)
        except Exception as error:  # a manifest may be damaged or malicious
            report(UserError(path, f"cannot be read ({first_line(error)})"))
    return sorted(_unique(sources.values(), report), key=lambda source: source.name)


def _add(source: RenderInput, sources: dict[tuple[Path, PurePosixPath], RenderInput], report: Callable) -> None:
    try:
        sources.setdefault((source.path.resolve(), source.name), source)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in its path, a loop of links
        report(UserError(source.path, f"cannot be read ({first_line(error)})"))


def _expand(
    path: Path, out: Path, report: Callable[[UserError], None], options: type[SamplingOptions]
) -> Iterator[RenderInput]:
    if is_folder(path):
        yield from _below_remote(path) if is_remote(path) else _below(path, out, report)
    elif not exists(path):
        raise UserError(path, "no such file or folder", "check the path")
    elif path.suffix.lower() in (".csv", ".tsv", ".jsonl") and not is_manifest(path):
        yield from _rows(path, options)
    elif path.suffix.lower() == ".jsonl":
        manifest = Manifest.load(path)
        for clip in manifest.clips:
            # A manifest may point out of its own folder; files are never written outside the output folder.
            parts = [part for part in PurePosixPath(clip.path).parts if part not in ("/", "..")]
            yield RenderInput(manifest.path(clip), clip.id, PurePosixPath(*parts or "_").with_suffix(""))
    elif path.suffix.lower() in _EXTENSIONS:
        yield RenderInput(path, path.stem, PurePosixPath(path.stem))
    else:
        fix = f"give one of {' '.join(_EXTENSIONS)} .jsonl .csv .tsv"
        raise UserError(path, "is neither a recording, a mel, a table nor a manifest", fix)


def _rows(path: Path, options: type[SamplingOptions]) -> Iterator[RenderInput]:
    """The rows of a table with a column `input`, a path relative to the table."""
    for row in read_table(path, Columns(options, "input", "name", line="input", required="input")):
        if "input" not in row.words:
            raise UserError(row.place, "has no input", "write the path of a recording or a mel")
        source = beside(path, row.words["input"])
        name = check_name(row.words.get("name", ""), row.place) or source.stem
        yield RenderInput(source, name, PurePosixPath(name), row.options)


def _below_remote(folder: Path) -> Iterator[RenderInput]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _EXTENSIONS)
    if not found:
        raise UserError(folder, "contains no recording and no mel", f"give a folder with {' '.join(_EXTENSIONS)}")
    for path in found:
        name = PurePosixPath(str(path.relative_to(folder))).with_suffix("")
        yield RenderInput(path, str(name), name)


def _below(folder: Path, out: Path, report: Callable[[UserError], None]) -> Iterator[RenderInput]:
    output = Path(os.path.realpath(out))
    if output == Path(os.path.realpath(folder)):
        raise UserError(folder, "is both an input and --out", "choose another --out")
    found = [
        path.relative_to(folder)
        for path in files_below(folder, _EXTENSIONS)
        if not Path(os.path.realpath(path)).is_relative_to(output)
    ]
    if not found:
        raise UserError(folder, "contains no recording and no mel", f"give a folder with {' '.join(_EXTENSIONS)}")
    for name in found:
        if problem := obstacle(folder / name):
            report(UserError(folder / name, problem))
            continue
        stem = PurePosixPath(name.with_suffix("").as_posix())
        yield RenderInput(folder / name, str(stem), stem)


def _unique(sources: Iterable[RenderInput], report: Callable[[UserError], None]) -> Iterator[RenderInput]:
    """Inputs with a unique name. Of several with one name none is rendered: which one must not depend on order."""
    named = defaultdict(list)
    for source in sources:
        named[source.name].append(source)
    for name, group in named.items():
        if len(group) == 1:
            yield group[0]
        else:
            paths = " and ".join(sorted(str(source.path) for source in group))
            report(UserError(paths, f"would both be rendered to {name}", "rename one, or render it to another --out"))
