"""`audiodiff doctor`: is this machine fit, and if not, which command mends it? `doctor mel` looks at a file instead.

Each check answers with one line. `fail` is what no verb works without; `warn` closes one door (an extra, a corpus, the
GPU) and leaves the others open, so that only `fail` gives a non-zero status.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import typer

from audiodiff.cli.doctor_mel import mel

SUBVERBS = {"mel": mel}
DISTRIBUTION = "audiodiff-synthesis"
INSTALL = 'pip install -c constraints.txt -e ".[metrics,corpora]"'
PAIR = "pip install -c constraints.txt torch torchaudio"
# Releases of lightning that carried malicious code.
POISONED = {"lightning": {"2.6.2", "2.6.3"}}
NEEDED_GB, WANTED_GB = 0.2, 5.0


class Check(NamedTuple):
    """One line of the doctor's answer; `fix` is empty where nothing needs mending."""

    state: Literal["ok", "warn", "fail"]
    name: str
    finding: str
    fix: str = ""


def doctor(context: typer.Context) -> None:
    """Examine this machine: versions, torch with torchaudio, GPU, threads, audio formats, compiler, extras, disk."""
    if context.invoked_subcommand is not None:
        return
    checks = []
    for check in examine():
        checks.append(check)
        typer.echo(f"{check.state:4}  {check.name:14}  {check.finding}" + (f"; {check.fix}" if check.fix else ""))
    failures = sum(check.state == "fail" for check in checks)
    warnings = sum(check.state == "warn" for check in checks)
    typer.echo(f"\n{failures} of {len(checks)} checks failed, {warnings} warned")
    if failures:
        raise typer.Exit(1)


def examine() -> Iterator[Check]:
    """All checks in the order in which one would mend them."""
    yield python()
    yield from packages()
    yield torch_pair()
    yield gpu()
    yield threads()
    yield from audio_formats()
    yield from extras()
    yield compiler()
    yield apt()
    yield disk(Path.cwd())
    yield writable(Path.cwd())


def python() -> Check:
    """The interpreter and the machine it runs on."""
    return Check("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def packages() -> Iterator[Check]:
    """What the package needs by itself, each with its version."""
    from packaging.requirements import Requirement

    for line in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.marker is None:
            found, unmet = installed(requirement)
            if unmet:
                yield Check("fail", requirement.name, unmet, f"mend it with `{INSTALL}`")
            elif found in POISONED.get(requirement.name, ()):
                yield Check("fail", requirement.name, f"{found} is a malicious release", f"mend it with `{INSTALL}`")
            else:
                yield Check("ok", requirement.name, found)


def installed(requirement) -> tuple[str, str]:
    """(version found, what is wrong with it) for a `packaging` Requirement; one of the two is empty."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "", "is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return "", f"{version} is installed, {requirement.specifier} is needed"
    return version, ""


def torch_pair() -> Check:
    """torchaudio declares no torch requirement, so the two are compared and then made to work together."""
    try:
        import torch
        import torchaudio

        version = {name: metadata.version(name).partition("+")[0] for name in ("torch", "torchaudio")}
        torchaudio.functional.resample(torch.zeros(160), 16000, 8000)
    except Exception as error:  # a library that does not load can raise anything
        return Check("fail", "torch pair", one_line(error), f"mend it with `{PAIR}`")
    finding = " and ".join(f"{name} {number}" for name, number in version.items())
    if version["torch"] != version["torchaudio"]:
        return Check("warn", "torch pair", f"{finding} load, but are no pair", f"mend it with `{PAIR}`")
    return Check("ok", "torch pair", f"{finding} load together")


def gpu() -> Check:
    """A card that the driver shows and torch does not see is worth a word; no card at all is not."""
    try:
        import torch

        if torch.cuda.is_available():
            card = torch.cuda.get_device_properties(0)
            return Check("ok", "gpu", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
    except Exception as error:
        return Check("warn", "gpu", one_line(error), "the CPU is used")
    if shutil.which("nvidia-smi"):
        return Check(
            "warn", "gpu", "nvidia-smi is here, but torch sees no card", "compare the driver with torch's CUDA"
        )
    return Check("ok", "gpu", "none: everything runs on the CPU")


def threads() -> Check:
    """Threads that wait for each other lose more than they gain where other processes keep a core busy."""
    try:
        import torch

        count, cores = torch.get_num_threads(), os.cpu_count() or 1
        busy = os.getloadavg()[0]  # processes that want a core, on the average of the last minute
    except (ImportError, OSError, AttributeError) as error:  # Windows has no load average
        return Check("ok", "threads", f"load unknown: {one_line(error)}")
    finding = f"{count} of torch on {cores} cores, of which other processes keep {busy:.1f} busy"
    if count > 1 and busy + count > cores + 0.5:
        return Check("warn", "threads", finding, "one thread is faster beside them: set OMP_NUM_THREADS=1")
    return Check("ok", "threads", finding)


def audio_formats() -> Iterator[Check]:
    """Write half a second of a tone in each format and read it back, through the package's own reader."""
    try:
        import numpy as np
        import soundfile

        from audiodiff.audio.io import read
    except Exception as error:
        yield Check("fail", "audio files", one_line(error), f"mend it with `{INSTALL}`")
        return
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("WAV", "FLAC", "OGG", "MP3"):
            path = Path(folder) / f"tone.{name.lower()}"
            needed = name in ("WAV", "FLAC")
            try:
                soundfile.write(path, tone, 16000)
                level = read(path).samples.abs().max().item()
                if not 0.4 < level < 0.6:
                    raise ValueError(f"a tone of peak 0.5 comes back with peak {level:.2f}")
                yield Check("ok", name, "reads and writes" if needed else "reads")
            except Exception as error:
                fix = f"mend it with `{INSTALL}`" if needed else "convert such files to WAV or FLAC"
                yield Check("fail" if needed else "warn", name, one_line(error), fix)


def extras() -> Iterator[Check]:
    """Each optional extra: complete, or what it lacks."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    for extra in metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ():
        wanted = [r for r in requirements if r.marker and r.marker.evaluate({"extra": extra})]
        unmet = [f"{r.name} {problem}" for r in wanted if (problem := installed(r)[1])]
        if unmet:
            fix = f'install it with `pip install -c constraints.txt -e ".[{extra}]"` if you want it'
            yield Check("warn", f"extra {extra}", ", ".join(unmet), fix)
        else:
            yield Check("ok", f"extra {extra}", ", ".join(r.name for r in wanted))


def compiler() -> Check:
    """pesq and pyworld are compiled where the index has no wheel for this Python."""
    if path := shutil.which("gcc"):
        return Check("ok", "compiler", path)
    return Check("warn", "compiler", "no gcc", "the extra `metrics` needs it: `apt-get install gcc`")


def apt() -> Check:
    """Debian's packages are where the corpora of real speech come from."""
    missing = [program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)]
    if missing:
        fix = "prepare `hibari` or `folder:PATH` instead of asterisk, festvox and fillets"
        return Check("warn", "apt", f"no {' and no '.join(missing)}", fix)
    return Check("ok", "apt", "fetches the corpora that are Debian packages")


def disk(folder: Path) -> Check:
    """Free space where runs and data go; a corpus and a run want a few GB."""
    free = shutil.disk_usage(folder).free / 1e9
    finding = f"{free:.1f} GB free in {folder}"
    if free < WANTED_GB:
        state = "fail" if free < NEEDED_GB else "warn"
        return Check(state, "disk", finding, f"{WANTED_GB:.0f} GB are comfortable: free some or work elsewhere")
    return Check("ok", "disk", finding)


def writable(folder: Path) -> Check:
    """Can `runs/` and `data/` be made here?"""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("fail", "write access", f"{folder}: {error.strerror}", "change to a folder of your own")
    return Check("ok", "write access", str(folder))


def one_line(error: Exception) -> str:
    """The first line of an error, with its type where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
