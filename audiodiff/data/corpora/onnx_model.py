"""An ONNX model run with one of its inner tensors as a further output.

An ONNX file is a protobuf message, and messages merge when their bytes are concatenated: repeated fields are appended
(https://protobuf.dev/programming-guides/encoding/#last-one-wins). So the output is added by appending a model that has
nothing but this output in its graph; the file is neither parsed nor written. Field numbers are those of onnx.proto3:
`ModelProto.graph` 7, `GraphProto.output` 12, `ValueInfoProto.name` 1.
"""

from typing import Any

import numpy as np

from audiodiff.extras import load_module

_GRAPH, _OUTPUT, _NAME = 7, 12, 1


class OnnxModel:
    """A session on one core, with an inner tensor among the outputs.

    Args:
        model: content of the file.
        tensor: name of the inner tensor.

    Raises:
        UserError: onnxruntime is not installed.
    """

    def __init__(self, model: bytes, tensor: str):
        runtime = load_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = with_output(model, tensor)
        self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, **inputs: np.ndarray) -> dict[str, Any]:
        """All outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def with_output(model: bytes, tensor: str) -> bytes:
    """A serialized model with `tensor` as its last output."""
    return model + _field(_GRAPH, _field(_OUTPUT, _field(_NAME, tensor.encode())))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
