"""What computes the maps of a backbone: onnxruntime on a CPU, which fuses layers, or torch."""

import hashlib
import importlib.metadata
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from atma18.backbones import graph
from atma18.backbones.backbone import Backbone
from atma18.compute import inference
from atma18.schema import one_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""onnxruntime 1.31 sends figures about models to its maker, unless it finds this when it is first imported."""
_TORCH, _ONNXRUNTIME = "torch", "onnxruntime"
_TOLERANCE = 1e-5
"""The largest difference between both engines, relative to the largest number of a map."""
_SESSIONS: "WeakValueDictionary[tuple[str, int], InferenceSession]" = WeakValueDictionary()
"""The sessions that models use, by their graph with its weights and by threads: equal backbones share one."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """A backbone whose weights stay as they are, ready to compute maps of images of one size.

    By onnxruntime an image's map is the same to the bit in a batch of any size. By torch it may not be, so batches must
    have a fixed size.
    """

    backbone: Backbone
    autocast: bool = False
    """Whether torch computes in bfloat16, which onnxruntime never does."""
    graph: bytes | None = field(default=None, repr=False)
    """The backbone as an ONNX graph, which is stored beside its weights; None if it has none."""
    session: "InferenceSession | None" = None
    """None for torch."""
    sha256: str = ""
    """The digest of the graph with its weights; empty for torch."""

    @classmethod
    def of(
        cls, backbone: Backbone, size_px: tuple[int, int], *, autocast: bool = False, given: bytes | None = None
    ) -> Self:
        """Choose onnxruntime for a backbone on a CPU if both engines agree on two random images.

        Args:
            backbone: on its device, with its final weights.
            size_px: the height and width of its images.
            autocast: whether to compute in bfloat16, by torch.
            given: the graph that is stored beside the weights; without it, it is taken from the cache or made.

        Raises:
            ValueError: If the given graph is not this backbone's.
        """
        backbone.eval()
        drawn = given or graph.of(backbone.spec, backbone.in_frames, size_px)
        torch_alone = cls(backbone, autocast, drawn)
        if drawn is None or autocast or backbone.mean.device.type != "cpu":
            return torch_alone
        whole = graph.filled(drawn, backbone.state_dict())
        sha256 = hashlib.sha256(whole).hexdigest()
        key = sha256, torch.get_num_threads()
        session = _SESSIONS.get(key)
        try:
            found = cls(backbone, graph=drawn, session=session or _session(whole), sha256=sha256)
            off = 0.0 if session else _difference(found, torch_alone, size_px)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no other base
            return torch_alone._instead(one_line(str(error)))
        if off > _TOLERANCE:
            return torch_alone._instead(f"onnxruntime is {off:.1g} off")
        assert found.session is not None
        _SESSIONS[key] = found.session
        return found

    def _instead(self, why: str) -> Self:
        _log.warning(f"{self.backbone.spec.name}: torch computes its maps, for onnxruntime cannot ({why})")
        return self

    @property
    def name(self) -> str:
        """The package that computes, and its version."""
        package = _TORCH if self.session is None else _ONNXRUNTIME
        return f"{package} {importlib.metadata.version(package)}"

    @property
    def batch_is_fixed(self) -> bool:
        """Whether batches must have one size, so that an image's map does not depend on the other images."""
        return self.session is None

    def __call__(self, frames: Tensor) -> Tensor:
        """Compute (B, C, h, w) float32 maps of (B, 3 * in_frames, H, W) RGB in [0, 1]."""
        if self.session is None:
            with inference.autocast(frames.device.type, self.autocast):
                maps: Tensor = self.backbone(frames)
                return maps.float()
        return torch.from_numpy(self.session.run(None, {graph.FRAMES: frames.contiguous().numpy()})[0])


def _session(whole: bytes) -> "InferenceSession":
    """Load a graph for as many threads as torch has here."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors alone
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # its threads would wait at full load
    return InferenceSession(whole, options, providers=["CPUExecutionProvider"])


def _difference(found: Engine, expected: Engine, size_px: tuple[int, int]) -> float:
    """Return the largest difference on two random images, relative to the largest number."""
    channels = 3 * found.backbone.in_frames
    frames = torch.rand(2, channels, *size_px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        maps = expected(frames)
        return float((found(frames) - maps).abs().max() / maps.abs().max().clamp(min=1.0))
