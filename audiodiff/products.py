"""Matrix products with a constant, which oneDNN reads from a layout of its own.

PyTorch computes products of float32 matrices by MKL, which uses AVX-512 on processors of Intel only. With weights in
its own layout oneDNN runs at 1.0 to 1.2 times that rate on a processor with AVX2, and at 2.2 times on one of AMD with
AVX-512. Without, it would reorder them at every call, which takes longer than the products of a short clip.
(`torch.compile` calls the same operators with frozen weights.)
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

_TYPICAL_ROWS = 256  # oneDNN chooses a layout for a number of rows; it serves any


def packs(weight: Tensor) -> bool:
    """Whether oneDNN can read these weights from its own layout."""
    plain = weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.numel() > 0
    return plain and torch.backends.mkldnn.is_available()


def is_transformed(*tensors: Tensor | None) -> bool:
    """Whether a tensor has a tangent, or a transform of `torch.func` is under way.

    Neither asks for gradients, and operators of oneDNN know nothing of them: a derivative would be zero.
    """
    if torch._C._are_functorch_transforms_active():
        return True
    return any(x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors)


def reads(x: Tensor) -> bool:
    """Whether packed weights can be applied to x: no derivatives, no other precision, and not empty."""
    differentiates = torch.is_grad_enabled() and x.requires_grad
    plain = x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0
    other = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    return plain and not (differentiates or other or is_transformed(x))


class Factor:
    """A constant matrix (K, N) that rows are multiplied by.

    Args:
        matrix: it is not changed, and must not change. Rows that need gradients get them; the matrix does not.
    """

    @torch.no_grad()
    def __init__(self, matrix: Tensor):
        self.matrix = matrix
        columns = matrix.t().contiguous()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(columns, _TYPICAL_ROWS) if packs(matrix) else None

    def __call__(self, rows: Tensor, bias: Tensor | None = None) -> Tensor:
        """Rows (..., K) times the matrix, plus a bias (N,): (..., N)."""
        if self._packed is not None and reads(rows) and not is_transformed(bias):
            return torch.ops.mkldnn._linear_pointwise(rows.contiguous(), self._packed, bias, "none", [], "")
        product = rows @ self.matrix
        return product if bias is None else product + bias
