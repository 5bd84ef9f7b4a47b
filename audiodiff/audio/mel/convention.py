"""Published mel conventions: a `MelSpec`, and a scaling of its numbers.

Most projects store the log-mel itself; some scale it to a range first (`Scaling`). Each convention is named after the
project that stores such mels, with the file that defines it.
"""

from dataclasses import dataclass, replace

from torch import Tensor

from audiodiff.audio.mel import PRESETS, MelSpec


@dataclass(frozen=True)
class Scaling:
    """stored = clip(gain * log-mel + shift, low, high).

    Attributes:
        gain: stored units per unit of the log-mel.
        shift: stored value of a log-mel of 0; None: such that the clip's loudest cell is `high`.
        low: smallest stored value.
        high: largest stored value.
        dynamic_range: cells more than this many stored units below the clip's loudest are clipped to that; None: not.
    """

    gain: float = 1.0
    shift: float | None = 0.0
    low: float = float("-inf")
    high: float = float("inf")
    dynamic_range: float | None = None

    def apply(self, mel: Tensor) -> Tensor:
        """Scale a log-mel of any shape."""
        stored = self.gain * mel
        stored = stored + (self.high - stored.max() if self.shift is None else self.shift)
        if self.dynamic_range is not None:
            stored = stored.clamp(min=(stored.max() - self.dynamic_range).item())
        return stored.clamp(self.low, self.high)

    def undo(self, stored: Tensor) -> Tensor:
        """Invert `apply`, except for clipping; with `shift` None the loudest cell becomes 0."""
        return (stored - (self.high if self.shift is None else self.shift)) / self.gain


@dataclass(frozen=True)
class Convention:
    """One published kind of mel: name, spec, scaling, and the file that defines it."""

    name: str
    spec: MelSpec
    scaling: Scaling = Scaling()
    source: str = ""


_HIFIGAN, _TACOTRON2 = PRESETS["hifigan_22k"], PRESETS["tacotron2_22k"]
_WHISPER = replace(
    PRESETS["speech_16k"], n_fft=400, win_length=400, hop_length=160, power=2, log_base="10", log_floor=1e-10
)
# torchaudio's `normalized=True` divides by the window's root of summed squares: (3/8 * 1024) ** 0.5.
_WINDOW_NORM_DB = 25.8433

_PUBLISHED = (
    Convention(
        "diffwave_22k",
        replace(_TACOTRON2, f_min=20.0, f_max=11025.0, mel_scale="htk", norm=None, log_base="db", log_floor=1.9596e-3),
        Scaling(0.01, 0.8 - 0.01 * _WINDOW_NORM_DB, 0.0, 1.0),
        "lmnt-com/diffwave preprocess.py: 20 log10, -20 dB, +100, / 100, clipped",
    ),
    Convention(
        "matcha_22k",
        _HIFIGAN,
        Scaling(1 / 2.116101, 5.536622 / 2.116101),
        "Matcha-TTS configs/data/ljspeech.yaml: HiFi-GAN's mel less its mean over LJSpeech, by its deviation",
    ),
    Convention(
        "parallel_wavegan_22k",
        replace(_TACOTRON2, f_min=80.0, f_max=7600.0, log_base="10", log_floor=1e-10),
        source="kan-bayashi/ParallelWaveGAN preprocess.py and ljspeech/voc1/conf/parallel_wavegan.v1.yaml",
    ),
    Convention(
        "wavernn_22k",
        replace(_TACOTRON2, n_fft=2048, win_length=1100, hop_length=275, f_min=40.0, f_max=11025.0, log_base="db"),
        Scaling(0.01, 1.0, 0.0, 1.0),
        "fatchord/WaveRNN hparams.py and utils/dsp.py",
    ),
    Convention(
        "tacotron_16k",
        replace(
            PRESETS["speech_16k"],
            n_fft=800,
            win_length=800,
            hop_length=200,
            f_min=55.0,
            log_base="db",
            log_floor=1e-4,
        ),
        Scaling(0.08, 2.4, -4.0, 4.0),
        "the symmetric Tacotron numbers of CorentinJ/Real-Time-Voice-Cloning (its pre-emphasis is not part of a spec)",
    ),
    Convention(
        "bigvgan_22k", replace(_HIFIGAN, f_max=11025.0), source="NVIDIA/BigVGAN configs/bigvgan_v2_22khz_80band_256x"
    ),
    Convention(
        "bigvgan_24k",
        replace(_HIFIGAN, sample_rate=24000, n_mels=100, f_max=12000.0),
        source="NVIDIA/BigVGAN configs/bigvgan_v2_24khz_100band_256x",
    ),
    Convention(
        "bigvgan_44k",
        replace(_HIFIGAN, sample_rate=44100, n_fft=2048, win_length=2048, hop_length=512, n_mels=128, f_max=22050.0),
        source="NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_512x",
    ),
    Convention(
        "cosyvoice_24k",
        replace(_HIFIGAN, sample_rate=24000, n_fft=1920, win_length=1920, hop_length=480),
        source="FunAudioLLM/CosyVoice2 configuration",
    ),
    Convention(
        "f5_24k", replace(PRESETS["vocos_24k"], log_floor=1e-5), source="SWivid/F5-TTS src/f5_tts/model/modules.py"
    ),
    Convention(
        "whisper_80",
        _WHISPER,
        Scaling(0.25, 1.0, dynamic_range=2.0),
        "openai/whisper whisper/audio.py: log10 of powers, at most 8 below the loudest, + 4, / 4",
    ),
    Convention(
        "whisper_128",
        replace(_WHISPER, n_mels=128),
        Scaling(0.25, 1.0, dynamic_range=2.0),
        "openai/whisper whisper/audio.py with the 128 bands of large-v3",
    ),
    Convention(
        "librosa_22k",
        replace(
            _TACOTRON2,
            n_fft=2048,
            win_length=2048,
            hop_length=512,
            n_mels=128,
            f_max=11025.0,
            power=2,
            log_base="db",
            log_floor=1e-10,
            padding="constant",
        ),
        Scaling(1.0, None, high=0.0, dynamic_range=80.0),
        "librosa.power_to_db(librosa.feature.melspectrogram(y), ref=numpy.max), all defaults",
    ),
)

CONVENTIONS: dict[str, Convention] = {
    **{name: Convention(name, spec, source="a preset of this package") for name, spec in PRESETS.items()},
    **{convention.name: convention for convention in _PUBLISHED},
}
