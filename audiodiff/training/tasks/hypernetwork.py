"""Hypernetwork task: the denoising loss of a frozen base with the adapter that references predict.

The clips that are denoised are others than those that the adapter is predicted from, and their caption says nothing of
the subject: what lowers the loss is what clips of a subject have in common. Only the hypernetwork is trained, through
the base. Every clip of a batch has an adapter of its own (`nn.adapters.batched`).
"""

import lightning
from torch import Tensor, nn

from audiodiff.diffusion.timestep_sampling import Uniform
from audiodiff.errors import UserError
from audiodiff.models.adapted import adaptable_layers
from audiodiff.models.audio_model import AudioModel
from audiodiff.models.hypernetwork import Hypernetwork
from audiodiff.nn.adapters.batched import batched_updates
from audiodiff.ranges import NonNegativeFloat, UnitInterval
from audiodiff.training.batch_random import BatchRandom
from audiodiff.training.tasks.denoising import DenoisingTask
from audiodiff.training.tasks.task import Task


class HypernetworkTask(Task):
    """Trains a `Hypernetwork`.

    Args:
        gain, condition_dropout, timestep_sampling: as of the `DenoisingTask` that trained the base.
        reference_noise: standard deviation of noise that is added to embeddings of references in training, as a share
            of their length: a few hundred subjects are few points of that space.
    """

    def __init__(
        self,
        gain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 1.2),
        condition_dropout: UnitInterval = 0.1,
        reference_noise: NonNegativeFloat = 0.3,
        timestep_sampling: Uniform | None = None,
    ):
        self.denoising = DenoisingTask(gain, condition_dropout=condition_dropout, timestep_sampling=timestep_sampling)
        super().__init__(gain, self.denoising.timestep_sampling)
        self.reference_noise = reference_noise
        self.base: AudioModel | None = None
        self._layers: dict[str, nn.Module] = {}

    def prepare(self, model: Hypernetwork, data: lightning.LightningDataModule) -> None:
        """Load the base, and check that the data has its channels and codec.

        Raises:
            UserError: the base is another one by now, or the data does not fit it or has no references.
        """
        if not hasattr(data, "embeddings"):
            raise UserError("the data", "has no references", "set data=subjects, or data=latent_subjects")
        if data.sample_rate != model.sample_rate:
            fix = f"set data.sample_rate={model.sample_rate}"
            raise UserError(f"data.sample_rate {data.sample_rate}", f"the base has {model.sample_rate}", fix)
        self.base = model.load_base().to(next(model.parameters()).device)
        self._layers = adaptable_layers(self.base)
        self.denoising.prepare(self.base, data)

    def loss(self, model: Hypernetwork, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """Predict an adapter for each clip, and denoise the clips with it."""
        reference = batch["reference"]
        if model.training and self.reference_noise:
            noise = random.normal(*reference.shape).to(reference) * self.reference_noise / reference.shape[1] ** 0.5
            reference = nn.functional.normalize(reference + noise, dim=1)
        return self._denoise(model, batch, random, model.network(reference))

    def base_loss(self, model: Hypernetwork, batch: dict, random: BatchRandom) -> dict[str, Tensor]:
        """As `loss`, of the base without an adapter, with the same random numbers in evaluation mode."""
        return self._denoise(model, batch, random, model.network.zero_factors(len(batch["reference"])))

    def _denoise(
        self, model: Hypernetwork, batch: dict, random: BatchRandom, factors: dict[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        assert self.base is not None
        base = self.base.train(model.training)
        given = {name: value for name, value in batch.items() if name != "reference"}
        with batched_updates(self._layers, factors):
            return self.denoising.loss(base, given, random)
