"""`FrameConv1d`: `nn.Conv1d` that computes matrix products where nothing is differentiated.

A convolution with K taps over frames is a sum of K matrix products, one a tap, each of the frames shifted by its
dilation,

    y_f = bias + sum_k W_k x_(f + (k - K // 2) dilation).

With the channels of a frame next to each other in memory the shifted frames are a view: nothing is unfolded or copied,
and the products accumulate in place. They run at the rate of matrix products for any length and dilation, where the
convolutions of PyTorch take another algorithm for one thread, short clips or a dilation, at half of it and less
(`bench/bound.py`). Activations keep the shape `(B, C, F)` that all layers agree on; only their strides differ, as those
of `torch.channels_last`, and operations between convolutions keep them.

Weights are those of `nn.Conv1d`. `pack` lays them out for inference, without changing them: as oneDNN reads them
(`audiodiff.products`), and tap by tap, as the products do, which compute what oneDNN does not: other precisions, and
everything where PyTorch comes without it.

In training, on a GPU, under `torch.compile` and in the transforms of `torch.func` it is `nn.Conv1d`: gradients of the
convolution run near the rate of matrix products already, and those libraries choose their own layout. In mixed
precision on a CPU, where products are so fast that a convolution mostly reorders memory, training computes one product
of all taps side by side.
"""

from typing import Any

import torch
from torch import Tensor, nn

from audiodiff.products import Factor, is_transformed, packs, reads


class FrameConv1d(nn.Conv1d):
    """`nn.Conv1d` over frames `(B, C, F)`: of an odd kernel and equal length, or of a stride like the kernel.

    Arguments are those of `nn.Conv1d`.

    Raises:
        ValueError: groups, a padding that changes the length, or a stride that is neither 1 nor the kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **arguments):
        super().__init__(in_channels, out_channels, kernel_size, **arguments)
        (kernel,), (stride,), (dilation,), padding = self.kernel_size, self.stride, self.dilation, self.padding
        same = stride == 1 and kernel % 2 == 1 and padding == (kernel // 2 * dilation,)
        folds = stride == kernel and padding == (0,) and dilation == 1
        self._packed: _Packed | None = None
        if self.groups != 1 or self.padding_mode != "zeros" or not (same or folds):
            raise ValueError(f"no convolution that keeps or folds frames: {self.extra_repr()}")

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, F)` to `(B, out_channels, F // stride)`."""
        differentiates = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x.contiguous())
        if is_transformed(x, self.weight, self.bias):  # sums in place have no derivative along a tangent
            return super().forward(x)
        if differentiates:
            if torch.is_autocast_enabled("cpu"):
                return self._one_product(x.transpose(1, 2))
            return self._pointwise(x) if self.kernel_size == (1,) else super().forward(x.contiguous())
        if self._packed is not None and self._packed.serves(self, x):
            return self._packed(self, x)
        frames, weight, bias = x.transpose(1, 2), self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            half = torch.get_autocast_dtype("cpu")
            frames, weight, bias = frames.to(half), weight.to(half), None if bias is None else bias.to(half)
        taps = weight.permute(2, 1, 0).contiguous()  # packed weights are
        out = self._folded(frames, taps) if self.stride != (1,) else self._shifted(frames, taps)
        return (out if bias is None else out.add_(bias)).transpose(1, 2)

    def pack(self) -> None:
        """Lay out the weights for inference on a CPU; see `pack`."""
        self.weight.data = self.weight.data.permute(2, 1, 0).contiguous().permute(2, 1, 0)
        countable = not self.weight.is_inference()  # writes to inference tensors are not counted
        self._packed = _Packed(self) if packs(self.weight) and countable else None

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes, which pack their own weights."""
        return {**self.__dict__, "_packed": None}

    def _pointwise(self, x: Tensor) -> Tensor:
        """The convolution of one tap, at twice the rate of PyTorch's own choice for one thread.

        One thread and a batch below 16 are given to oneDNN only if dilated, which means nothing to one tap.
        """
        dilation = 2 if packs(self.weight) else 1
        return nn.functional.conv1d(x.contiguous(), self.weight, self.bias, dilation=dilation)

    def _one_product(self, frames: Tensor) -> Tensor:
        """All taps of a frame side by side: one product, and two for its gradients.

        Each is summed in float32; the gradients of a frame's taps are then added in half precision.
        """
        count, (stride,), (dilation,) = self.kernel_size[0], self.stride, self.dilation
        if stride > 1:
            rows = frames[:, : frames.shape[1] // count * count].reshape(len(frames), -1, count * frames.shape[-1])
        else:
            rows = frames if count == 1 else _Taps.apply(frames.to(torch.get_autocast_dtype("cpu")), count, dilation)
        return nn.functional.linear(rows, self.weight.transpose(1, 2).flatten(1), self.bias).transpose(1, 2)

    @staticmethod
    def _folded(frames: Tensor, taps: Tensor) -> Tensor:
        """Each stride of frames is one row: one product."""
        count, channels = len(taps), frames.shape[-1]
        whole = frames[:, : frames.shape[1] // count * count]
        return whole.reshape(len(frames), -1, count * channels) @ taps.flatten(0, 1)

    def _shifted(self, frames: Tensor, taps: Tensor) -> Tensor:
        """The middle tap's product, to which those of shifted frames are added in place."""
        (dilation,), size, middle = self.dilation, frames.shape[1], len(taps) // 2
        out = (frames[0] @ taps[middle])[None] if len(frames) == 1 else frames @ taps[middle]
        for tap, weight in enumerate(taps):
            shift = (tap - middle) * dilation
            if shift and abs(shift) < size:
                here, there = slice(max(0, -shift), size - max(0, shift)), slice(max(0, shift), size + min(0, shift))
                for into, clip in zip(out, frames, strict=True):
                    into[here].addmm_(clip[there], weight)
        return out


class _Packed:
    """The weights of a convolution as those of one product of rows: all taps of a frame side by side.

    (A convolution of oneDNN would copy nothing, but it reads another layout for short clips and reorders the weights
    for them at every call, which takes a hundred times as long as the products.)

    Args:
        conv: it serves as long as the weights are those that were packed.
    """

    @torch.no_grad()
    def __init__(self, conv: FrameConv1d):
        self.source, self.state = conv.weight, _state(conv.weight)
        self.factor = Factor(conv.weight.permute(2, 1, 0).flatten(0, 1))

    def serves(self, conv: FrameConv1d, x: Tensor) -> bool:
        """Whether the weights are still those of `conv`, and can be applied to x (B, C, F)."""
        same = conv.weight is self.source and not conv.weight.is_inference()
        return same and _state(conv.weight) == self.state and reads(x)

    def __call__(self, conv: FrameConv1d, x: Tensor) -> Tensor:
        frames, (count,), (stride,), (dilation,) = x.transpose(1, 2), conv.kernel_size, conv.stride, conv.dilation
        if stride > 1:
            whole = frames[:, : frames.shape[1] // stride * stride]
            frames = whole.reshape(len(x), -1, stride * x.shape[1])
        elif count > 1:
            frames = _taps(frames, count, dilation)
        return self.factor(frames, conv.bias).transpose(1, 2)


def _taps(frames: Tensor, count: int, dilation: int) -> Tensor:
    """Frames (B, F, C), zero beyond their ends, to (B, F, K C): of K frames a dilation apart, around each."""
    margin, size = count // 2 * dilation, frames.shape[1]
    padded = nn.functional.pad(frames, (0, 0, margin, margin))
    return torch.cat([padded[:, k * dilation : k * dilation + size] for k in range(count)], -1)


def _state(weight: Tensor) -> tuple[int, int]:
    """Changes with the values of a weight: where they are, and how often they were written (not through `.data`)."""
    return weight.data_ptr(), weight._version


class _Taps(torch.autograd.Function):
    """`_taps` with its gradient."""

    @staticmethod
    def forward(frames: Tensor, count: int, dilation: int) -> Tensor:
        return _taps(frames, count, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, ctx.count, ctx.dilation = inputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        batch, size, columns = gradients[0].shape
        margin = ctx.count // 2 * ctx.dilation
        padded = gradients[0].new_zeros(batch, size + 2 * margin, columns // ctx.count)
        for k, part in enumerate(gradients[0].chunk(ctx.count, -1)):
            padded[:, k * ctx.dilation : k * ctx.dilation + size] += part
        return padded[:, margin : margin + size], None, None


def share_packing(copied: nn.Module, original: nn.Module) -> None:
    """Let the convolutions of a copy that share their weights with the original's read the same layout of them."""
    for part, source in zip(copied.modules(), original.modules(), strict=True):
        if isinstance(part, FrameConv1d) and isinstance(source, FrameConv1d):
            part._packed = source._packed


def is_packed(module: nn.Module) -> bool:
    """Whether the weights of a convolution of a module are laid out for inference."""
    return any(isinstance(part, FrameConv1d) and part._packed is not None for part in module.modules())


@torch.no_grad()
def pack(module: nn.Module) -> None:
    """Lay out the weights of all convolutions for inference on a CPU, without changing them or their shape.

    Weights that are written later are read as they are then, at the rate of weights that are not packed. Only what is
    written in place through `.data` goes unnoticed, since PyTorch does not count it: pack again. Other devices and the
    gradients of a model in training are better off without.
    """
    for part in module.modules():
        if isinstance(part, FrameConv1d) and part.weight.device.type == "cpu":
            part.pack()
