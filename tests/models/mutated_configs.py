"""Load and use models with mutated configs; run by `test_hostile_models.py` in a process of bounded memory.

`python mutated_configs.py MODEL FIRST COUNT FOLDER` tries the mutations FIRST, FIRST + 1, ... of a shipped model and
prints a JSON list of those that were neither refused in one line nor a working model.
"""

import copy
import json
import random
import resource
import signal
import sys
import warnings
from pathlib import Path

import torch

from audiodiff.audio.io import Audio
from audiodiff.errors import UserError
from audiodiff.models import model_folders
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.pipelines.audio_generator import AudioGenerator
from audiodiff.pipelines.audio_text_embedder import AudioTextEmbedder
from audiodiff.pipelines.vocoder import Vocoder

SECONDS = 20  # for one case; a sound one takes a tenth of a second, also on a busy machine not ten
BYTES = 2**30  # of memory more than for the shipped models


RAW = {f"@{depth}": "[" * depth + "]" * depth for depth in (20, 900, 100_000)}  # json cannot write all of these
VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 16, 100, 10**9, -(10**9), 2**63, 10**30, 10**400),
    *(0.5, -0.5, 1e-300, 1e300, 1e9, float("nan"), float("inf"), -float("inf"), -0.0),
    *("", "x", "1e9", "cosine", "a\nb", "\x00", [], {}, [0], [10**9], [-1, 2], ["x"], [None], [1.5] * 3),
    *([1] * 10_000, *RAW, {"type": "v"}, {"type": "cosine"}, {"type": "nope"}),
    *({"type": ["network"]}, {"type": "network"}, {"type": "discrete", "betas": [0.1] * 1000}, {"": 1}, "\ud800"),
    *({"type": "learned", "sigmoids": 10**9}, {"type": "standard_prior"}, {"type": "linear_beta", "beta_max": 1e300}),
]


def places(value, path=()):
    """Every place in a config, as a path of keys."""
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, name)
        if isinstance(item, (dict, list)):
            yield from places(item, (*path, name))


def mutate(config, draw: random.Random):
    """Change one place or a few, of which most are of the model; say which."""
    config, changes = copy.deepcopy(config), []
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        spots = [path for path in places(config) if path[0] == "model" or draw.random() < 0.05]
        # As many numbers of a time grid as there are should not draw all the attention.
        few = [path for path in spots if "times" not in path or draw.random() < 0.02]
        *parents, name = draw.choice(few or list(places(config)))
        parent = config
        for key in parents:
            parent = parent[key]
        changes.append(change(config, parent, name, draw))
    return config, "; ".join(changes)


def change(config, parent, name, draw: random.Random) -> str:
    old, kind = parent[name], draw.choice(["value"] * 4 + ["scale", "scale", "all", "delete", "list", "add"])
    if kind == "scale" and type(old) in (int, float):
        parent[name] = draw.choice([old * 2, old * 10, old // 2, -old, old + 1, old - 1, old * 10**6, float(old)])
    elif kind == "all" and type(old) in (int, float) and old not in (0, 1):
        new = draw.choice([1, 2, old * 2, old * 10**6, 10**9, 0, -old])
        replace(config, old, new)
        return f"all {old} = {new}"
    elif kind == "delete" and isinstance(parent, dict):
        del parent[name]
        return f"without {name}"
    elif kind == "list" and isinstance(old, list):
        parent[name] = draw.choice([old * 2, old[:-1], old[::-1], [old], old * 1000, [*old, draw.choice(VALUES)]])
    elif kind == "add" and isinstance(parent, dict):
        parent[draw.choice(["x", "device", "type", "__class__", "self"])] = copy.deepcopy(draw.choice(VALUES))
        return f"added to {name}"
    else:
        parent[name] = copy.deepcopy(draw.choice(VALUES))
    return f"{name} = {parent[name]!r:.60}"


def replace(value, old, new):
    for name, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            replace(item, old, new)
        elif type(item) is type(old) and item == old:
            value[name] = new


def written(config) -> str:
    text = json.dumps(config)
    for name, raw in RAW.items():
        text = text.replace(json.dumps(name), raw)
    return text


def use(folder: Path, kind: str) -> None:
    """Everything between a folder and its audio, on the model's own defaults."""
    if kind == "vocoder":
        vocoder = Vocoder.from_pretrained(folder)
        mel = vocoder.mel(Audio(0.1 * torch.sin(torch.arange(1500) * 0.3), 16000))[:, :6]
        made = vocoder.generate(mel)
        assert made.samples.shape == (mel.shape[1] * vocoder.spec.hop_length,), "length"
        assert sum(len(piece.samples) for piece in vocoder.stream([mel])) == len(made.samples), "stream"
    elif kind == "audio_text":
        tone = Audio(0.1 * torch.sin(torch.arange(1500) * 0.3), 16000)
        similarity = AudioTextEmbedder.from_pretrained(folder).similarity(tone, ["a kick drum", "rain"])
        assert similarity.shape == (1, 2) and similarity.isfinite().all(), "similarity"
        return
    elif kind == "hypernetwork":
        model = Hypernetwork.from_pretrained(folder)
        assert model.adapter(torch.ones(256) / 16).updates, "adapter"
        return
    else:
        generator = AudioGenerator.from_pretrained(folder)
        made = generator.generate(seed=1, seconds=0.05)
        assert made.samples.shape == (generator.model.channels, round(0.05 * generator.sample_rate)), "length"
        assert generator.model.samples <= 3600 * generator.sample_rate, "clips of more than hour by default"
    assert made.samples.isfinite().all(), "not finite"


def outcome(folder: Path, kind: str) -> str | None:
    """None where the model works or is refused in one line; else what happened."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        use(folder, kind)
    except UserError as error:
        line = str(error)
        if "\n" in line or len(line) > 1000 or "allocate" in line:
            return f"UserError {line[:300]}"
    except BaseException as error:  # whatever it is: that is what is looked for
        return f"{type(error).__name__} {str(error)[:300]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def overtime(*_):
    raise TimeoutError(f"more than {SECONDS} s")


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(name: str, first: int, count: int, folder: Path) -> list[str]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, overtime)
    shipped = model_folders.SHIPPED / name
    config = json.loads((shipped / "config.json").read_text())
    (folder / "model.safetensors").symlink_to(shipped / "model.safetensors")
    (folder / "config.json").write_text(written(config))
    assert outcome(folder, config["type"]) is None
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 4 * BYTES,) * 2)  # what gets there is a failure and no outage
    failures, highest = [], peak()
    for number in range(first, first + count):
        mutated, changes = mutate(config, random.Random(f"{name} {number}"))
        (folder / "config.json").write_text(written(mutated))
        found = outcome(folder, config["type"])
        if peak() > highest + BYTES:
            found = f"{(peak() - highest) >> 20} MiB of memory more; {found}"
            highest = peak()
        if found:
            failures.append(f"{number}: {changes}: {found}")
    return failures


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))))
