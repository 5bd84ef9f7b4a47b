"""Guard against losses that are not finite."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn
from safetensors.torch import save_file
from torch import Tensor

from audiodiff.errors import UserError
from audiodiff.files import atomic_write, write_text
from audiodiff.ranges import Positive


class NonFiniteGuard:
    """Skips steps whose loss is not finite, saving the batch for inspection; several in a row end the run.

    Args:
        folder: of the run; batches are saved to `<folder>/nonfinite`.
        patience: number of such steps in a row that ends the run.
    """

    def __init__(self, folder: str, patience: Positive = 5):
        self.folder, self.patience, self.count = Path(folder), patience, 0

    def inspect(self, loss: Tensor, batch: dict) -> bool:
        """Whether the loss is finite; if not, save the batch: its tensors and the names of its files.

        Args:
            loss: of the step, mean over all devices.
            batch: of this device.

        Raises:
            UserError: it was not in `patience` steps in a row.
        """
        if torch.isfinite(loss):
            self.count = 0
            return True
        self.count += 1
        name = f"draw_{int(batch['draw'][0]):09}"
        with atomic_write(self.folder / "nonfinite" / f"{name}.safetensors") as temporary:
            tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
        write_text(self.folder / "nonfinite" / f"{name}.txt", "\n".join(batch["path"]) + "\n")
        rank_zero_warn(f"loss is not finite: step skipped, batch saved as {name}")
        if self.count >= self.patience:
            raise UserError(
                self.folder / "nonfinite",
                f"the loss was not finite {self.count} steps in a row, the batches are saved there",
                "halve optimizer.lr, set trainer.precision=32-true, or look at the files named in the .txt",
            )
        return False
