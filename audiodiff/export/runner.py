"""Synthesize audio from a log-mel spectrogram with the exported vocoder beside this file: NumPy and ONNX Runtime only.

    python run.py mel.npy out.wav [--setting NAME] [--steps N] [--iterations N] [--seed N] [--clip NAME] [--threads N]

The mel is an array (bands, frames) of float numbers in the spec of export.json. If NAME.melspec.json lies beside
NAME.npy, it must be that spec. The audio is 24-bit WAV. What happens, stage by stage:

1. conditioning: a small network in float64 estimates pitch and voicing, which give a train of pulses;
2. sampling: from noise, a function of seed and position only, by the rows of a table: one network evaluation each;
3. restoring: the whitened signal gets the mel's spectral envelope;
4. mel consistency: repeated projection towards the signals that have this mel.

Every number is as `audiodiff.Vocoder` computes it, up to rounding: the same seed gives the same sound.
"""

import argparse
import hashlib
import json
import sys
import wave
from pathlib import Path

try:
    import numpy as np
    import onnxruntime
except ImportError as missing:
    sys.exit(f"error: {missing.name}: not installed; install with: pip install numpy onnxruntime")

FORMAT, VERSION = "audiodiff-onnx", 2
BLOCK = 16384
MOMENTUM, RELAXATION, MAX_STEP = 0.8, 1.25, 3.0
TOP = 0.97


class InputError(Exception):
    """Bad input, in one line."""


# ---- noise: a function of (seed, position) ----


def stable_hash(*parts):
    """A number in [0, 2^63) that is the same everywhere."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def noise(seed, samples):
    """Standard normal noise (samples,), in blocks: Mersenne Twister and Box-Muller, eight pairs at a time."""
    blocks = []
    for block in range(-(-samples // BLOCK)):
        random = np.random.RandomState(stable_hash("noise", seed, 0, block) & 0xFFFFFFFF)
        raw = random.randint(0, 2**32, BLOCK, np.uint32)
        uniform = ((raw & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)).reshape(-1, 2, 8)
        radius = np.sqrt(-2 * np.log(1 - uniform[:, 0]))
        angle = np.float32(2 * np.pi) * uniform[:, 1]
        blocks.append(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel())
    return np.concatenate(blocks)[:samples].astype(np.float32)


# ---- conditioning ----


def interpolate(frames, hop, offset, samples):
    """Values (K,) of frames centered at offset + k hop, to (samples,): linear, ends repeated."""
    needed = -(-max(samples - offset, 0) // hop) + 1
    padded = np.pad(frames, (1, max(0, needed - len(frames))), mode="edge")
    fraction = np.arange(hop, dtype=frames.dtype) / hop
    between = padded[:-1, None] + fraction * (padded[1:] - padded[:-1])[:, None]
    return between.ravel()[hop - offset :][:samples]


def convolve(x, weight, bias, dilation=1):
    """Zero-padded convolution of (C, F) with (O, C, K)."""
    size, frames = weight.shape[2], x.shape[1]
    padded = np.pad(x, ((0, 0), (dilation * (size // 2),) * 2))
    taps = (weight[:, :, k] @ padded[:, k * dilation : k * dilation + frames] for k in range(size))
    return sum(taps) + bias[:, None]


def rms_norm(x):
    """Root-mean-square norm over channels."""
    return x / np.sqrt(np.square(x).mean(axis=0) + 1e-6)


def pitch_and_voicing(mel, arrays):
    """F0 in Hz and voicing in [0, 1] of each frame of a normalized mel (M, F), in float64."""
    prefix = "conditioners.excitation.pitch."
    weights = {name[len(prefix) :]: array.astype(np.float64) for name, array in arrays.items() if prefix in name}

    def layer(name, x, dilation=1):
        return convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"], dilation)

    hidden = layer("conv_in", mel.astype(np.float64))
    for k in range(sum(name.startswith("dilated.") for name in weights) // 2):
        inner = layer(f"dilated.{k}", rms_norm(hidden), 2**k)
        hidden = hidden + layer(f"project.{k}", inner / (1 + np.exp(-inner)))
    *bins, voicing = layer("conv_out", rms_norm(hidden))
    bins = np.array(bins)
    near = np.abs(np.arange(len(bins))[:, None] - bins.argmax(axis=0)) <= 2
    share = np.where(near, np.exp(bins - bins.max(axis=0)), 0)
    f0 = np.exp((share / share.sum(axis=0) * arrays["pitch_centers"].astype(np.float64)[:, None]).sum(axis=0))
    return f0, 1 / (1 + np.exp(-voicing))


def excitation(mel, samples, spec, arrays):
    """Pulses (samples,) of variance 1 where there is voice: all harmonics of F0 in phase, by Dirichlet's kernel."""
    tracks = pitch_and_voicing(mel, arrays)
    f0, voicing = (interpolate(track, spec["hop_length"], spec["offset"], samples) for track in tracks)
    nyquist = spec["sample_rate"] / 2
    phase = np.cumsum(f0 / spec["sample_rate"]) % 1.0 * (2 * np.pi)
    harmonics = np.maximum(TOP * nyquist / f0, 1.0)
    whole, half = np.floor(harmonics), phase / 2
    small = np.abs(np.sin(half)) < 1e-4
    below = np.where(small, 1.0, np.sin(half))
    summed = np.where(small, whole, np.sin((2 * whole + 1) * half) / (2 * below) - 0.5)
    steepness = np.maximum(f0 / ((1 - TOP) * nyquist), 1.0)
    level = np.maximum(1 - (whole + 1 - harmonics) * steepness, 0.0)
    pulses = (summed + level * np.cos((whole + 1) * phase)) * np.sqrt(2 / harmonics)
    return (np.sqrt(voicing) * pulses).astype(np.float32)


# ---- short-time spectra, the prior, mel consistency ----


def spectrum(padded, window, hop):
    """Windowed frames of a padded signal, transformed: (K, bins)."""
    return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop] * window)


def overlap_add(frames, hop):
    """Frames (K, n) to a signal of K + ceil(n / hop) - 1 hops."""
    frames = np.pad(frames, ((0, 0), (0, -frames.shape[1] % hop)))
    overlaps = frames.shape[1] // hop
    out = np.zeros((len(frames) + overlaps - 1, hop), np.float32)
    for i in range(overlaps):
        out[i : i + len(frames)] += frames[:, i * hop : (i + 1) * hop]
    return out.ravel()


class Prior:
    """The mel-dependent whitening filter of the process, and its mean."""

    def __init__(self, settings, mel, spec, arrays):
        self.kind, self.settings = settings["type"], settings
        self.mel, self.spec, self.arrays = mel, spec, arrays
        self.frames, self.samples = mel.shape[1], mel.shape[1] * spec["hop_length"]
        self.shape = Prior(settings["shape"], mel, spec, arrays) if settings.get("shape") else self

    def envelope(self):
        """Spectral envelope of the mel (F, bins)."""
        average = np.exp(self.mel / np.float32(self.spec["log_scale"])) / self.arrays["filterbank"].sum(axis=0)[:, None]
        return np.exp(np.log(average).T @ self.arrays["interpolation"] / np.float32(self.spec["power"]))

    def mean(self):
        """The rough signal of a mel with phase 0 at the center of each frame; 0 for other priors."""
        if self.kind != "rough_prior":
            return np.zeros(self.samples, np.float32)
        linear = self.arrays["pseudo_inverse"].T @ np.exp(self.mel / np.float32(self.spec["log_scale"]))
        magnitudes = np.maximum(linear, 0) if self.spec["power"] == 1 else np.sqrt(np.maximum(linear, 0))
        pulses = np.roll(np.fft.irfft(magnitudes.T, n=self.spec["n_fft"]), self.spec["n_fft"] // 2, axis=1)
        return self.join(pulses[self.index()])

    def filter(self, signal, inverse=False):
        """Color white noise with the envelope of the mel, or whiten a signal."""
        if self.shape is not self:
            return self.shape.filter(signal, inverse)
        if self.kind == "standard_prior":
            return signal
        gain = self.level() if self.kind == "energy_prior" else self.gain()[self.index()]
        gain = 1 / gain if inverse else gain
        if self.kind == "energy_prior":
            return signal * gain
        _, _, before, after = self.framing()
        stft = spectrum(np.pad(signal, (before, after)), self.arrays["window"], self.spec["hop_length"])
        return self.join(np.fft.irfft(stft * gain, n=self.spec["n_fft"]).astype(np.float32))

    def gain(self):
        """Gain of each frame and bin (F, bins)."""
        norm = np.sqrt(np.square(self.arrays["window"].astype(np.float64)).sum())
        return np.maximum(self.envelope() / np.float32(norm), np.float32(self.settings["floor"]))

    def level(self):
        """Gain of each sample: the level of a signal with the mel's envelope."""
        power = np.square(self.envelope())
        both = 2 * power.sum(axis=1) - power[:, 0] - (power[:, -1] if self.spec["n_fft"] % 2 == 0 else 0)
        norm = self.spec["n_fft"] * np.square(self.arrays["window"].astype(np.float64)).sum()
        level = np.log(np.maximum(np.sqrt(both / np.float32(norm)), np.float32(self.settings["floor"])))
        return np.exp(interpolate(level, self.spec["hop_length"], self.spec["offset"], self.samples))

    def framing(self):
        """First frame, number of frames that touch the signal, and zeros before and after it."""
        n_fft, hop, pad = self.spec["n_fft"], self.spec["hop_length"], self.spec["pad"]
        first = -((n_fft - pad - 1) // hop)
        frames, before = -(-(self.samples + pad) // hop) - first, pad - first * hop
        return first, frames, before, (frames - 1) * hop + n_fft - before - self.samples

    def index(self):
        """The mel frame of each of these frames."""
        first, frames, _, _ = self.framing()
        return np.clip(np.arange(first, first + frames), 0, self.frames - 1)

    def join(self, frames):
        """The signal whose windowed frames are closest to these."""
        hop, window = self.spec["hop_length"], self.arrays["window"]
        weight = overlap_add(np.square(window)[None], hop).reshape(-1, hop).sum(axis=0)
        summed = overlap_add(frames * window, hop).reshape(-1, hop) / weight
        return summed.ravel()[self.framing()[2] :][: self.samples]


def project(x, mel, spec, arrays, iterations):
    """Move a waveform (T,) towards those with the mel (M, F): Griffin-Lim with momentum, on bands in place of bins."""
    hop, pad, window, bank = spec["hop_length"], spec["pad"], arrays["window"], arrays["filterbank"]
    floor = np.float32(spec["log_floor"])
    frames = 1 + (len(x) + 2 * pad - spec["n_fft"]) // hop
    held = mel[:, np.minimum(np.arange(frames), mel.shape[1] - 1)]
    target = np.maximum(np.exp(held / np.float32(spec["log_scale"])), floor).T
    hertz = np.arange(len(bank)) * (spec["sample_rate"] / spec["n_fft"])
    known = (spec["f_min"] <= hertz) & (hertz <= spec["f_max"])
    bridge = arrays["interpolation"] * known.astype(np.float32) / np.float32(spec["power"])
    weight = np.maximum(overlap_add(np.broadcast_to(np.square(window), (frames, len(window))), hop), 1e-6)
    mode = {"mode": "reflect"} if spec["padding"] == "reflect" and len(x) > 1 else {}
    start = x
    for _ in range(iterations):
        stft = spectrum(np.pad(start, pad, **mode), window, hop)
        values = np.abs(stft) if not spec["power_offset"] else np.sqrt(np.abs(stft) ** 2 + spec["power_offset"])
        now = np.maximum((values**2 if spec["power"] == 2 else values).astype(np.float32) @ bank, floor)
        gains = np.clip(np.log(target / now), -MAX_STEP, MAX_STEP) * np.float32(RELAXATION)
        change = np.fft.irfft(stft * np.expm1(gains @ bridge), n=spec["n_fft"]).astype(np.float32)
        step = (overlap_add(change * window, hop) / weight)[pad : pad + len(x)]
        previous, x = x, start + step
        start = x + np.float32(MOMENTUM) * (x - previous)
    return x


# ---- sampling ----


class Runner:
    """The exported vocoder of a folder."""

    def __init__(self, folder, threads=0):
        config = self.config = _read(Path(folder) / "export.json")
        self.spec, self.settings = config["mel_spec"], config["runner"]
        contents = {name: (Path(folder) / name).read_bytes() for name in config["files"]}
        for name, content in contents.items():
            if hashlib.sha256(content).hexdigest() != config["files"][name]:
                raise InputError(f"{Path(folder) / name}: is of another export; copy the whole folder again")
        self.arrays = _safetensors(contents["arrays.safetensors"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors: warnings are for developers
        self.session = onnxruntime.InferenceSession(contents["network.onnx"], options, ["CPUExecutionProvider"])

    def __call__(self, mel, steps=None, seed=0, iterations=None, clip="0", setting=None):
        """The waveform (F * hop_length,) of a log-mel (M, F); steps and iterations are the setting's if None."""
        mel, setting = self.check(mel, "mel"), self.setting(setting)
        rows, scale = self.table(setting["sampler"], setting["steps"] if steps is None else steps)
        iterations = setting["iterations"] if iterations is None else iterations
        samples = mel.shape[1] * self.spec["hop_length"]
        prior = Prior(self.settings["prior"], mel, self.spec, self.arrays)
        inputs = self.condition(mel, samples, prior)
        clip_seed = stable_hash("clip", seed, clip)
        x = np.float32(scale) * noise(clip_seed, samples)
        states, features = [], []
        for n, row in enumerate(rows):
            estimate = self.estimate(x, row, inputs)
            states, features = [x, *states], [_combine(row["feature"], (x, estimate)), *features]
            x = _combine((*row["carry"], *row["weights"]), (*states[: len(row["carry"])], *features))
            if row["noise"]:
                x = x + np.float32(row["noise"]) * noise(stable_hash("step", clip_seed, n), samples)
        restored = prior.filter(x) if self.settings["bridge"] else prior.mean() + prior.filter(x)
        return project(restored, mel, self.spec, self.arrays, iterations)

    def check(self, mel, name):
        """The mel in float32, if it can be one of this vocoder's."""
        mel, bands = np.asarray(mel), self.spec["n_mels"]
        mel = mel[0] if mel.ndim == 3 and len(mel) == 1 else mel
        if mel.ndim != 2 or mel.shape[0] != bands or mel.dtype.kind not in "fiu":
            shape = "x".join(map(str, mel.shape))
            raise InputError(f"{name}: has shape {shape}, this model expects {bands} bands x frames of numbers")
        if not mel.shape[1]:
            raise InputError(f"{name}: has no frames; give at least one")
        if not np.isfinite(mel).all():
            raise InputError(f"{name}: has NaN or infinite values; compute it again from clean audio")
        if mel.max() > self.settings["loudest"]:
            raise InputError(f"{name}: has values up to {mel.max():.3g}; check that it has the spec of export.json")
        return mel.astype(np.float32)

    def setting(self, name=None):
        """The sampler, steps and iterations of a named setting; None: of the first, which is the default."""
        known = self.settings["settings"]
        if name is not None and name not in known:
            raise InputError(f"setting {name!r}: this model has no such setting; choose {' or '.join(known)}")
        return known[next(iter(known)) if name is None else name]

    def table(self, sampler, steps):
        """The rows of a sampler with so many steps, and the scale of the noise that it starts from."""
        tables = self.settings["tables"][sampler]
        if str(steps) not in tables:
            raise InputError(f"steps {steps}: not exported; choose among {', '.join(tables)}")
        return tables[str(steps)]["rows"], tables[str(steps)]["noise_scale"]

    def condition(self, mel, samples, prior):
        """What all evaluations of the network share: frames, signals and length, filled up to the graph's grid."""
        hop, multiple = self.spec["hop_length"], self.config["graph"]["multiple_of"]
        normalized = (2 - 4 * mel / np.float32(self.settings["log_floor"])).astype(np.float32)
        signals = {"rough": lambda: prior.filter(prior.mean(), inverse=True)}
        signals["excitation"] = lambda: excitation(normalized, samples, self.spec, self.arrays)
        self.padding = -samples % multiple
        frames = np.pad(normalized, ((0, 0), (0, self.padding // hop)), mode="edge")
        inputs = {"frames": frames[None], "samples": np.array([samples])}
        if names := self.settings["signals"]:
            inputs["signal"] = np.pad(np.stack([signals[name]() for name in names]), ((0, 0), (0, self.padding)))[None]
        return inputs

    def estimate(self, x, row, inputs):
        """E[x0 | x] by one evaluation of the network."""
        unit = np.pad(x / np.float32(row["scale"]), (0, self.padding))
        noisy = {"x": unit[None, None], "log_snr": np.array([row["log_snr"]], np.float32)}
        (output,) = self.session.run(None, noisy | inputs)
        return _combine(row["x0"], (x, output[0, 0, : len(x)]))


def _combine(factors, signals):
    terms = (np.float32(a) * signal for a, signal in zip(factors, signals, strict=False) if a)
    return sum(terms, np.zeros_like(signals[0]))


def _read(path):
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = config["format"], config["version"]
    except (OSError, ValueError, LookupError, TypeError):
        raise InputError(f"{path}: is not that of an export; run the run.py of an exported folder") from None
    if found != (FORMAT, VERSION):
        raise InputError(f"{path}: format {found[0]!r} version {found[1]} is not supported; use the run.py beside it")
    return config


def _safetensors(content):
    """The arrays of a .safetensors file, in float32 at least."""
    start = 8 + int.from_bytes(content[:8], "little")
    dtypes, arrays = {"F16": np.float16, "F32": np.float32, "F64": np.float64}, {}
    for name, entry in json.loads(content[8:start]).items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        array = np.frombuffer(content[begin:end], dtypes[entry["dtype"]]).reshape(entry["shape"])
        arrays[name] = array.astype(np.promote_types(array.dtype, np.float32))
    return arrays


def _load_mel(path, spec):
    try:
        mel = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read as .npy ({error})") from None
    described = path.with_suffix(".melspec.json")
    if described.is_file():
        theirs = json.loads(described.read_text(encoding="utf-8"))
        differing = [f"{name}: {value} != {spec[name]}" for name, value in theirs.items() if value != spec.get(name)]
        if differing:
            raise InputError(f"{path}: has another mel spec: {'; '.join(differing)}; compute it with the model's")
    return mel


def _write_wav(path, samples, sample_rate):
    whole = np.round(np.clip(samples, -1, 1) * (2**23 - 1)).astype("<i4")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 3, sample_rate, 0, "NONE", ""))
        file.writeframes(whole[:, None].view(np.uint8)[:, :3].tobytes())


def parser():
    """The command line."""
    options = argparse.ArgumentParser(description="Synthesize audio from a log-mel spectrogram.")
    options.add_argument("mel", type=Path, help="log-mel (bands, frames), .npy")
    options.add_argument("out", type=Path, help="audio file to write, .wav")
    options.add_argument("--setting", help="named setting of the model (default: its first)")
    options.add_argument("--steps", type=int, help="denoising steps (default: the setting's)")
    options.add_argument("--seed", type=int, default=0, help="random seed")
    options.add_argument("--iterations", type=int, help="mel-consistency iterations (default: the setting's)")
    options.add_argument("--clip", default="0", help="name of the clip, which the noise depends on")
    options.add_argument("--threads", type=int, default=0, help="threads (default: one per core)")
    return options


def main():
    """Synthesize one file."""
    values = parser().parse_args()
    try:
        runner = Runner(Path(__file__).parent, values.threads)
        mel = runner.check(_load_mel(values.mel, runner.spec), values.mel)
        samples = runner(mel, values.steps, values.seed, values.iterations, values.clip, values.setting)
        _write_wav(values.out, samples, runner.spec["sample_rate"])
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
