"""A backbone as an ONNX graph without its weights: what onnxruntime computes maps with, whatever the weights are.

A graph depends on the architecture and the size of frames alone, so all folds of a net share one: a file of some ten
kilobytes beside their safetensors. torch exports it in seconds; it is made once and kept by content.
"""

import importlib.metadata
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atma18 import backbones
from atma18.backbones.backbone import BackboneSpec
from atma18.cache import Cache
from atma18.config import from_json
from atma18.schema import first_few, one_line
from atma18.storage.digests import canonical_json, sha256_of_records

FILE = "backbone.onnx"
"""The name of a graph among the files of a model."""
FRAMES = "frames"
"""The input (B, 3 * in_frames, H, W), RGB in [0, 1]; the other inputs are the weights, by name in the backbone."""
KIND = "graphs"
"""The kind of the cache's entries."""
_COUNTER = "num_batches_tracked"
"""A tensor of batch-norm that only training reads."""
_EXPORTERS = ("torch", "onnx", "onnxscript", "onnx-ir")
_REFUSALS = (ImportError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, OSError)
"""What the exporter raises for a net that it cannot express, and where one of its packages is missing."""
_log = logging.getLogger(__name__)


def of(spec: BackboneSpec, in_frames: int, size_px: tuple[int, int]) -> bytes | None:
    """Return the graph of a backbone for (3 * in_frames, H, W) images, from the cache if it was made before.

    Returns:
        The file's bytes, or None where the backbone cannot be exported, which is said once.
    """
    if spec.kind not in backbones.KINDS:
        return None
    described = canonical_json(asdict(replace(spec, name="")))  # a name may be a path
    return _kept(described, in_frames, size_px)


@lru_cache(maxsize=16)
def _kept(described: bytes, in_frames: int, size_px: tuple[int, int]) -> bytes | None:
    spec = from_json(BackboneSpec, json.loads(described))
    sources = [source.read_bytes() for source in sorted(Path(__file__).parent.glob("*.py"))]
    try:
        versions = {name: importlib.metadata.version(name) for name in _EXPORTERS}
        key = sha256_of_records([[described, canonical_json([in_frames, size_px, versions])], sources])
        path = Cache.open().get(KIND, f"{key}.onnx", lambda path: path.write_bytes(_export(spec, in_frames, size_px)))
        return path.read_bytes()
    except _REFUSALS as refusal:
        _log.warning(f"{spec.kind}: torch computes its maps, for it has no ONNX graph ({one_line(str(refusal))})")
        return None


def _export(spec: BackboneSpec, in_frames: int, size_px: tuple[int, int]) -> bytes:
    """Export a backbone for any number of images; its weights are inputs, and nothing names this machine."""
    import onnx_ir
    import onnxscript.optimizer

    backbone = backbones.untrained(spec, in_frames=in_frames).eval()
    frames = torch.zeros(2, 3 * in_frames, *size_px)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own deprecations
        exported = torch.onnx.export(
            backbone, (frames,), dynamo=True, dynamic_shapes=({0: "images"},), optimize=False, verbose=False
        )
    assert exported is not None, "torch returns a program for every export by dynamo"
    model = exported.model
    for name in _weights(backbone.state_dict()):
        if name in model.graph.initializers:
            weight = model.graph.initializers.pop(name)
            weight.const_value = None  # otherwise the optimiser would fold batch-norm into these very weights
            model.graph.inputs.append(weight)
    onnxscript.optimizer.optimize(model)
    proto = onnx_ir.to_proto(model)
    graph = proto.graph
    for told in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        told.ClearField("metadata_props")
        told.ClearField("doc_string")
    graph.ClearField("value_info")
    return bytes(proto.SerializeToString(deterministic=True))


def save(graph: bytes | None, folder: Path) -> None:
    """Write a graph among the files of a model, if there is one."""
    if graph is not None:
        (folder / FILE).write_bytes(graph)


def load(files: Mapping[str, Path]) -> bytes | None:
    """Read the graph among the files of a model; models of an earlier atma18 have none."""
    return files[FILE].read_bytes() if FILE in files else None


def filled(graph: bytes, state: Mapping[str, Tensor]) -> bytes:
    """Return a graph with the weights of a backbone in it.

    Raises:
        ValueError: If it is not the graph of such a backbone: it reads other inputs, or it has more than torch's export
            has, which is plain operators in one level, and numbers of its own.
    """
    import onnx

    try:
        model = onnx.load_model_from_string(graph)
    except Exception as error:  # protobuf's error, whose package comes with onnx
        raise ValueError(f"expected an ONNX graph, found something else ({one_line(str(error))})") from error
    _check_plain(model)
    weights = _weights(state)
    frames = [entry for entry in model.graph.input if entry.name == FRAMES]
    read = {entry.name: entry for entry in model.graph.input if entry.name != FRAMES}
    odd = [name for name, entry in read.items() if name not in weights or _shape(entry) != weights[name].shape]
    if odd or len(frames) != 1:
        raise ValueError(f"expected a graph of this backbone's weights, found one of {first_few(odd or ['no frames'])}")
    del model.graph.input[:]
    model.graph.input.extend(frames)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(weights[name].numpy(force=True), name) for name in read)
    return bytes(model.SerializeToString())


def _check_plain(model: Any) -> None:  # noqa: ANN401 - protobuf's classes have no types
    import onnx

    nodes, made = model.graph.node, model.graph.initializer
    level = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
    odd = [node.op_type for node in nodes if node.domain or any(a.type in level for a in node.attribute)]
    odd += [function.name for function in model.functions]
    odd += [tensor.name for tensor in made if tensor.data_location != onnx.TensorProto.DEFAULT]
    if odd or model.graph.sparse_initializer:
        raise ValueError(f"expected a graph of plain operators, found {first_few(odd or ['sparse tensors'])} in it")


def _shape(entry: Any) -> tuple[int, ...]:  # noqa: ANN401 - protobuf's classes have no types
    return tuple(dimension.dim_value for dimension in entry.type.tensor_type.shape.dim)


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(_COUNTER)}
