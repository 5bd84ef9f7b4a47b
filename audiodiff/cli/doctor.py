"""`audiodiff doctor`: check this installation, and name the command that fixes it. `doctor mel` inspects a file.

Each check prints one line. `fail`: no verb works without it. `warn`: one feature is missing (an extra, a corpus, the
GPU). Only `fail` leads to a non-zero status.
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
    """One line of the output; `fix` is empty where there is nothing to fix."""

    state: Literal["ok", "warn", "fail"]
    name: str
    finding: str
    fix: str = ""


def doctor(context: typer.Context) -> None:
    """Check this installation: versions, torch with torchaudio, GPU, threads, audio formats, extras, compiler, disk."""
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
    """Run all checks, in the order in which to fix them."""
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
    """Every package of the core, with its version."""
    from packaging.requirements import Requirement

    for line in metadata.requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.marker is None:
            found, unmet = installed(requirement)
            if unmet:
                yield Check("fail", requirement.name, unmet, f"fix it with `{INSTALL}`")
            elif found in POISONED.get(requirement.name, ()):
                yield Check("fail", requirement.name, f"{found} is a malicious release", f"fix it with `{INSTALL}`")
            else:
                yield Check("ok", requirement.name, found)


def installed(requirement) -> tuple[str, str]:
    """(installed version, problem) of a `packaging` Requirement; one of the two is empty."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return "", "is not installed"
    if not requirement.specifier.contains(version, prereleases=True):
        return "", f"{version} is installed, {requirement.specifier} is needed"
    return version, ""


def torch_pair() -> Check:
    """torch and torchaudio, which declares no torch requirement: compare their versions and run both."""
    try:
        import torch
        import torchaudio

        version = {name: metadata.version(name).partition("+")[0] for name in ("torch", "torchaudio")}
        torchaudio.functional.resample(torch.zeros(160), 16000, 8000)
    except Exception as error:  # a library that does not load can raise anything
        return Check("fail", "torch pair", one_line(error), f"fix it with `{PAIR}`")
    finding = " and ".join(f"{name} {number}" for name, number in version.items())
    if version["torch"] != version["torchaudio"]:
        return Check("warn", "torch pair", f"{finding} load but are of different versions", f"fix it with `{PAIR}`")
    return Check("ok", "torch pair", f"{finding} load together")


def gpu() -> Check:
    """The GPU; a warning where the driver shows one that torch does not see."""
    try:
        import torch

        if torch.cuda.is_available():
            card = torch.cuda.get_device_properties(0)
            return Check("ok", "gpu", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
    except Exception as error:
        return Check("warn", "gpu", one_line(error), "the CPU is used")
    if shutil.which("nvidia-smi"):
        return Check(
            "warn",
            "gpu",
            "nvidia-smi is installed, but torch sees no GPU",
            "compare the driver's CUDA version with torch's",
        )
    return Check("ok", "gpu", "none, the CPU is used")


def threads() -> Check:
    """Threads of torch; several are slower than one where other processes keep cores busy."""
    try:
        import torch

        count, cores = torch.get_num_threads(), os.cpu_count() or 1
        busy = os.getloadavg()[0]  # runnable processes, average of the last minute
    except (ImportError, OSError, AttributeError) as error:  # Windows has no load average
        return Check("ok", "threads", f"load unknown: {one_line(error)}")
    finding = f"{count} of torch on {cores} cores, {busy:.1f} of them busy with other processes"
    if count > 1 and busy + count > cores + 0.5:
        return Check("warn", "threads", finding, "one thread is faster then: set OMP_NUM_THREADS=1")
    return Check("ok", "threads", finding)


def audio_formats() -> Iterator[Check]:
    """Each audio format: write half a second of a tone and read it back."""
    try:
        import numpy as np
        import soundfile

        from audiodiff.audio.io import read
    except Exception as error:
        yield Check("fail", "audio files", one_line(error), f"fix it with `{INSTALL}`")
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
                    raise ValueError(f"a tone of peak 0.5 is read with peak {level:.2f}")
                yield Check("ok", name, "reads and writes" if needed else "reads")
            except Exception as error:
                fix = f"fix it with `{INSTALL}`" if needed else "convert such files to WAV or FLAC"
                yield Check("fail" if needed else "warn", name, one_line(error), fix)


def extras() -> Iterator[Check]:
    """Each optional extra: complete, or what is missing."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    for extra in metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ():
        wanted = [r for r in requirements if r.marker and r.marker.evaluate({"extra": extra})]
        unmet = [f"{r.name} {problem}" for r in wanted if (problem := installed(r)[1])]
        if unmet:
            fix = f'to use it: `pip install -c constraints.txt -e ".[{extra}]"`'
            yield Check("warn", f"extra {extra}", ", ".join(unmet), fix)
        else:
            yield Check("ok", f"extra {extra}", ", ".join(r.name for r in wanted))


def compiler() -> Check:
    """A C compiler: pesq and pyworld are compiled where the index has no wheel for this Python."""
    if path := shutil.which("gcc"):
        return Check("ok", "compiler", path)
    return Check("warn", "compiler", "no gcc", "the extra `metrics` needs it: `apt-get install gcc`")


def apt() -> Check:
    """apt, which downloads the corpora of real speech, packages of Debian."""
    missing = [program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)]
    if missing:
        fix = "prepare `hibari` or `folder:PATH` instead of asterisk, festvox and fillets"
        return Check("warn", "apt", f"no {' and no '.join(missing)}", fix)
    return Check("ok", "apt", "downloads the corpora that are Debian packages")


def disk(folder: Path) -> Check:
    """Free disk space: a corpus and a run need a few GB."""
    free = shutil.disk_usage(folder).free / 1e9
    finding = f"{free:.1f} GB free in {folder}"
    if free < WANTED_GB:
        state = "fail" if free < NEEDED_GB else "warn"
        return Check(state, "disk", finding, f"free some: {WANTED_GB:.0f} GB are recommended")
    return Check("ok", "disk", finding)


def writable(folder: Path) -> Check:
    """Whether `runs/` and `data/` can be created in this folder."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("fail", "write access", f"{folder}: {error.strerror}", "change to a folder that you may write to")
    return Check("ok", "write access", str(folder))


def one_line(error: Exception) -> str:
    """The first line of an error, with its type where it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
