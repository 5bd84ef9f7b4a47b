"""Loaded models, which all requests share: each is loaded by the first request that needs it.

Together they stay within a budget of memory: the one that was used least recently is dropped first.
"""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Lock
from typing import Any

import torch
from torch import nn

from audiodiff.demo.catalog import Catalog, Offer
from audiodiff.pipelines import memory
from audiodiff.pipelines.pipeline import Pipeline, resolve_device
from audiodiff.pipelines.registry import PIPELINES

SHARE = 0.5  # of the memory that is free at the start
FALLBACK = 4 * 2**30  # bytes, where it is not known what is free


class ModelStore:
    """Pipelines of a catalog's models by their names.

    Args:
        catalog: the models.
        device: that they run on; "auto" is CUDA, else MPS, else the CPU.
        budget: bytes that loaded models may take together; None: half of the memory that is free now. A single model
            that is larger is loaded nevertheless, alone.

    Attributes:
        worker: samples, one request at a time.
    """

    def __init__(self, catalog: Catalog, device: str = "cpu", budget: int | None = None):
        self.catalog, self.device = catalog, resolve_device(device)
        free = memory.free(self.device) if budget is None else None
        self.budget = budget if budget is not None else FALLBACK if free is None else int(free * SHARE)
        self.worker = ThreadPoolExecutor(1, "sampling")
        self._loading = Lock()
        self._loaded: OrderedDict[str, Any] = OrderedDict()

    def load(self, offer: Offer) -> Any:
        """The pipeline of a model.

        Raises:
            UserError: the folder is missing, damaged, or was replaced by a model of another type.
        """
        with self._loading:
            if offer.name in self._loaded:
                self._loaded.move_to_end(offer.name)
                return self._loaded[offer.name]
            pipeline = PIPELINES[offer.kind]
            assert pipeline is not None  # model types without one have no place on the page
            loaded = pipeline.from_pretrained(offer.folder, self.device)
            self._loaded[offer.name] = loaded
            while len(self._loaded) > 1 and sum(map(size, self._loaded.values())) > self.budget:
                self._loaded.popitem(last=False)
            return loaded

    @property
    def names(self) -> list[str]:
        """Names of the loaded models, the one that was used least recently first."""
        with self._loading:
            return list(self._loaded)


def size(pipeline: Pipeline) -> int:
    """Bytes of the weights of a pipeline and of the pipelines in it, such as the vocoder of a voice."""
    parts = [pipeline.model, *(getattr(pipeline, name).model for name in ("vocoder",) if hasattr(pipeline, name))]
    tensors: dict[int, torch.Tensor] = {}
    for part in parts:
        if isinstance(part, nn.Module):
            tensors |= {id(tensor): tensor for tensor in chain(part.parameters(), part.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
