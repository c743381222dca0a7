"""The voice's weights, read from its ONNX graph and dequantised to float32."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Weights = dict[str, NDArray[np.float32]]


def load_weights() -> Weights:
    """Name to array, named as torch would: `m.dec.0.pw1.weight` [out, in],
    `pn.text.attn.self_attn.in_proj_bias`.

    Names m.* are the text encoder and the decoder, pn.* the prosody network. Beside each `weight` that the package
    keeps in bytes lies a `step` []: the weight is a whole number of them, between -127 and 127.
    """
    with as_file(files("hibari").joinpath("assets/hibari.onnx")) as path:
        return dequantise(onnx.load(path).graph)


def dequantise(graph: onnx.GraphProto) -> Weights:
    """Float initialisers as they are, int8 matrices as (q - zero point) * scale, transposed to [out, in].

    The quantiser kept no names for the matrices, so each takes the name of the bias that is added to its
    product:
    MatMulInteger -> Cast -> Mul (scale) -> Add (bias).
    """
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weights: Weights = {
        name: array.astype(np.float32) for name, array in arrays.items() if name.startswith(("m.", "pn."))
    }
    readers: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = node
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        _, matrix, _, zero_point = node.input
        add = readers[readers[readers[node.output[0]].output[0]].output[0]]
        bias = next(name for name in add.input if name in weights)
        scale = arrays[matrix.removesuffix("_quantized") + "_scale"]
        levels = arrays[matrix].astype(np.float32) - arrays[zero_point].astype(np.float32)
        weights[bias.removesuffix("bias") + "weight"] = np.ascontiguousarray((levels * scale).T)
        if np.abs(levels).max() <= 127:
            weights[bias.removesuffix("bias") + "step"] = scale
    return weights
