"""The voice's own ONNX graph in float, and the package's synthesis: what our network is measured against."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

DURATIONS = "/Clip_output_0"
OUTPUTS = ("lh", "theta", "ln", "lr", "phi", "f0")

Floats = NDArray[np.float32]


class Spoken(NamedTuple):
    """One run of the graph, frames first: [frames, 601] each, f0 [frames] in Hz, durations [tokens]."""

    lh: Floats
    theta: Floats
    ln: Floats
    lr: Floats
    phi: Floats
    f0: Floats
    durations: Floats


class FloatGraph:
    """The graph with every quantised product replaced by a float one of the dequantised matrix."""

    def __init__(self) -> None:
        with as_file(files("hibari").joinpath("assets/hibari.onnx")) as path:
            model = onnx.load(path)
        unquantise(model.graph)
        model.graph.output.append(
            helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, ["tokens"])
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, tokens: list[int], speed: float) -> Spoken:
        inputs = {"ids": np.asarray([tokens], np.int64), "speed": np.asarray([speed], np.float32)}
        *spectra, f0, durations = self._session.run([*OUTPUTS, DURATIONS], inputs)
        lh, theta, ln, lr, phi = (part[0].T for part in spectra)
        return Spoken(lh, theta, ln, lr, phi, f0[0], durations)


def unquantise(graph: onnx.GraphProto) -> None:
    """DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul becomes MatMul, in place."""
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    replaced: dict[str, onnx.NodeProto] = {}
    dropped: set[str] = set()
    added: set[str] = set()
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        quantised, matrix, _, zero_point = node.input
        quantiser = makers[quantised]
        cast = readers[node.output[0]]
        rescale = readers[cast.output[0]]
        scales = makers[next(name for name in rescale.input if name != cast.output[0])]
        name = f"{matrix}_float"
        if name not in added:
            steps = arrays[matrix].astype(np.float32) - arrays[zero_point].astype(np.float32)
            scale = arrays[matrix.removesuffix("_quantized") + "_scale"]
            graph.initializer.append(numpy_helper.from_array(np.asarray(steps * scale, np.float32), name))
            added.add(name)
        replaced[rescale.output[0]] = helper.make_node(
            "MatMul", [quantiser.input[0], name], rescale.output[:]
        )
        dropped |= {node.name for node in (quantiser, node, cast, scales)}
    nodes = [replaced.get(node.output[0], node) for node in graph.node if node.name not in dropped]
    del graph.node[:]
    graph.node.extend(nodes)
