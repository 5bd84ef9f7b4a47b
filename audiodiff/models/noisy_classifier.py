"""`NoisyClassifier`: the probability of each class given a noisy signal, for classifier guidance.

It reads what the process of a generator runs on, at any log-SNR, brought to unit variance: x_t / scale(t). That depends
on the log-SNR alone, so that one classifier guides generators of any schedule.

Classes are independent of each other given the signal: a clip may have several, or none. A signal that ought to have
the classes K has the log-probability sum_{k in K} log p(k | x_t).
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from audiodiff.audio.average_spectrum import AverageSpectrum
from audiodiff.audio.loudness import normalize_rms
from audiodiff.conditioners.classes import Classes
from audiodiff.diffusion.clips import column
from audiodiff.diffusion.schedules.schedule import Schedule
from audiodiff.errors import UserError
from audiodiff.models.audio_process import AudioProcess
from audiodiff.nn.autoencoder import Autoencoder
from audiodiff.nn.classifier import ClassifierNetwork
from audiodiff.ranges import Positive

LOG_SNR_RANGE = (-8.0, 8.0)  # that it is trained on; levels beyond are read as the nearer end


class NoisyClassifier(AudioProcess):
    """Classes of noisy signals.

    Args:
        network: logits of the classes.
        classes: their names.
        sample_rate: Hz.
        samples: length of the training crops.
        spectrum: the generator's; None: no whitening.
        autoencoder: of the generator's codec, if its process runs on latents.

    Raises:
        UserError: another number of classes than the network's, or as `AudioProcess.set_process`.
    """

    network: ClassifierNetwork
    TYPE = "noisy_classifier"
    ARGUMENTS = ("network", "classes", "sample_rate", "samples", "spectrum", "autoencoder")

    def __init__(
        self,
        network: ClassifierNetwork,
        classes: Sequence[str],
        sample_rate: Positive,
        samples: Positive,
        spectrum: AverageSpectrum | None = None,
        autoencoder: Autoencoder | None = None,
    ):
        super().__init__()
        self.network, self.classes = network, tuple(classes)
        names = len(set(self.classes))
        if not network.outputs == len(self.classes) == names:
            problem = f"has {network.outputs} outputs, {names} classes are named"
            raise UserError("network", problem, f"set network.outputs={names}")
        self.set_process(network, sample_rate, samples, spectrum, autoencoder)
        self.conditioners = nn.ModuleList([Classes(self.classes)])

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that training changes: not those of the codec."""
        return self.network.parameters()

    def logits(self, x: Tensor, log_snr: Tensor, samples: Tensor | None = None) -> Tensor:
        """Log-odds (B, K) of each class.

        Args:
            x: (B, C', F) noisy signals of the process, of a variance of about 1.
            log_snr: (B,) noise levels.
            samples: (B,) valid frames of each clip; None: all.
        """
        return self.network(x, log_snr.clamp(*LOG_SNR_RANGE), samples)

    def log_prob(self, schedule: Schedule, labels: Sequence[str]) -> Callable[..., Tensor]:
        """`(x_t, t, cond) -> (B,)`, log p(labels | x_t) in nats, for `ClassifierGuidance`; the condition is not used.

        Args:
            schedule: of the generator.
            labels: classes that a clip ought to have.

        Raises:
            UserError: it has no class of this name.
        """
        wanted = [self.classes.index(label) for label in self._checked(labels)]

        def value(x_t: Tensor, t: Tensor | float, cond: object = None) -> Tensor:
            times = t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)
            times = times.expand(len(x_t)).to(x_t.device)
            x = x_t / column(schedule.scale(times), x_t)
            log_odds = self.logits(x, schedule.log_snr(times, torch.float32))
            return nn.functional.logsigmoid(log_odds.float())[:, wanted].sum(1).to(x_t.dtype)

        return value

    @torch.no_grad()
    def classify(self, waveform: Tensor) -> Tensor:
        """Probabilities (B, K) of the classes of recordings (B, C, T) without noise.

        Raises:
            UserError: another number of channels, or no samples.
        """
        if waveform.ndim != 3 or waveform.shape[1] != self.channels or not waveform.shape[-1]:
            problem = f"has shape {tuple(waveform.shape)}, this classifier expects (B, {self.channels}, T)"
            raise UserError("waveform", problem, "add the missing dimension, or convert the number of channels")
        clean = self.normalize(waveform)
        if self.codec is None:
            clean = normalize_rms(clean)
        return self.logits(clean, clean.new_full((len(clean),), LOG_SNR_RANGE[1])).sigmoid()

    def _checked(self, labels: Sequence[str]) -> Sequence[str]:
        for label in labels:
            if label not in self.classes:
                known = ", ".join(self.classes)
                raise UserError(f"label {label!r:.60}", "the classifier has no such class", f"choose among {known}")
        return labels
