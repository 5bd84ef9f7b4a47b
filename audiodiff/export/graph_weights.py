"""The weights of an ONNX graph in fewer bits.

*float16*: half-precision storage. Each weight is cast back to float32 where the graph is loaded (runtimes fold the
cast), so the computation is that of float32 with rounded weights, at its speed and in half the space.

*int8*: the weights of convolutions in 8 bits, and their inputs quantized as they come (dynamic quantization by ONNX
Runtime: `DynamicQuantizeLinear` and `ConvInteger`), other weights in float16. The first and the last convolution keep
16 bits: they read the noisy spectrum and write the masks, and their rounding is ten decibels louder than that of all
others together. ONNX Runtime's `ConvInteger` takes unsigned weights with one scale for all channels, on the CPU only;
there is no integer kernel of `ConvTranspose`, which a strided front end decodes with, and none of attention's products.
"""

import copy
import logging
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from audiodiff.errors import UserError
from audiodiff.extras import load_module

_HALF = "_float16"


def to_single(graph: Any, weights: Collection[str]) -> Any:
    """The graph as it is."""
    return graph


def to_half(graph: Any, weights: Collection[str]) -> Any:
    """A copy of a graph (`onnx.ModelProto`) with the float32 weights of these names stored in float16.

    Raises:
        UserError: a weight is not finite in float16.
    """
    onnx, half = load_module("onnx"), copy.deepcopy(graph)
    casts = []
    for tensor in half.graph.initializer:
        if tensor.name not in weights or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name, values = tensor.name, onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        if not np.isfinite(rounded).all():
            problem = f"has values up to {np.abs(values).max():.3g}, half precision holds at most 65504"
            raise UserError(f"weight {name}", problem, "use --dtype float32")
        tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, name + _HALF))
        casts.append(onnx.helper.make_node("Cast", [name + _HALF], [name], name + "_cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *half.graph.node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    return half


def to_int8(graph: Any, weights: Collection[str]) -> Any:
    """A copy of a graph with the convolutions between the first and the last in 8 bits, other weights in float16."""
    quantization, onnx = load_module("onnxruntime.quantization"), load_module("onnx")
    convolutions = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises a preparation that the exporter has done
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, quantized = Path(folder, "plain.onnx"), Path(folder, "int8.onnx")
            onnx.save(graph, plain)
            quantization.quantize_dynamic(
                plain,
                quantized,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=[*convolutions[:1], *convolutions[-1:]],
                weight_type=quantization.QuantType.QUInt8,
            )
            return to_half(onnx.load(quantized), weights)
    finally:
        logger.setLevel(level)


DTYPES: dict[str, Callable[[Any, Collection[str]], Any]] = {
    "float32": to_single,
    "float16": to_half,
    "int8": to_int8,
}
