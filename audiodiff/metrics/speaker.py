"""Speaker similarity: cosine similarity of speaker embeddings.

A recurrent network is trained so that embeddings of one speaker are close together and far from those of others
("Generalized end-to-end loss for speaker verification", Wan, Wang, Papir and Lopez Moreno, ICASSP 2018). The
cosine of two embeddings is about 0.9 for two long sentences of one speaker, about 0.5 for those of two. The weights are
those of the package Resemblyzer (Apache-2.0; trained on LibriSpeech and VoxCeleb). Only its weights are read: importing
its code would import a voice activity detector and a backport of `typing`.

A clip's embedding is the mean over spans of 1.6 s with 50 % overlap; the last is padded with silence. Pauses are kept,
because both signals have the same ones.
"""

from functools import cache, lru_cache

import librosa
import numpy as np
import torch
from torch import Tensor, nn

from audiodiff.extras import locate
from audiodiff.metrics.rates import at_rate

SAMPLE_RATE = 16000
WINDOW, HOP, BANDS = 400, 160, 40  # 25 ms every 10 ms
SPAN = 160  # frames
MIN_DBFS = -30.0  # quieter clips are raised to this level, as in the network's training


class Encoder(nn.Module):
    """Spans (S, SPAN, BANDS) of a mel power spectrogram to embeddings (S, 256) of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, 256, num_layers=3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, spans: Tensor) -> Tensor:
        """Project, rectify and normalize the final state of the last layer."""
        _, (state, _) = self.lstm(spans)
        return nn.functional.normalize(self.linear(state[-1]).relu(), dim=1)


@cache
def _encoder() -> Encoder:
    """The trained network, loaded once per process."""
    weights = torch.load(locate("resemblyzer") / "pretrained.pt", map_location="cpu", weights_only=True)["model_state"]
    encoder = Encoder().eval()
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    return encoder


def spans(samples: np.ndarray) -> Tensor:
    """Mel power spectrogram of `samples` (T,) at `SAMPLE_RATE` in half-overlapping spans (S, SPAN, BANDS)."""
    mel = librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS)
    frames = mel.shape[1]
    whole = max(SPAN, -(-frames // (SPAN // 2)) * (SPAN // 2))
    padded = np.pad(mel.astype(np.float32), ((0, 0), (0, whole - frames)))
    return torch.from_numpy(padded).unfold(1, SPAN, SPAN // 2).permute(1, 2, 0)


@lru_cache(maxsize=8)
@torch.inference_mode()
def _embedding(samples: bytes, sample_rate: int) -> np.ndarray:
    signal = at_rate(np.frombuffer(samples, np.float32).copy(), sample_rate, SAMPLE_RATE)
    level = 10 * np.log10(np.mean(signal.astype(np.float64) ** 2))
    louder = np.float32(10 ** (max(0.0, MIN_DBFS - level) / 20))
    mean = _encoder()(spans(signal * louder)).mean(dim=0).numpy()
    return mean / np.linalg.norm(mean)


def embedding(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Speaker embedding (256,) of `samples` (T,), which are not all zero; unit length, non-negative."""
    return _embedding(samples.astype(np.float32).tobytes(), sample_rate)


def speaker_similarity(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Cosine of the two embeddings, 0 to 1; 0 where the estimate is silent."""
    if not estimate.any():
        return 0.0
    return float(embedding(reference, sample_rate) @ embedding(estimate, sample_rate))
