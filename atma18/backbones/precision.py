"""The precision of a backbone: the speed of bfloat16 is measured once on a machine, then cached."""

import json
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from atma18 import backbones, compute
from atma18.cache import PRECISION, Cache
from atma18.compute import Compute
from atma18.config import EmbedConfig, NetConfig
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX
from atma18.storage import digests

WORTH_IT = 1.1
"""Smallest speedup for bfloat16, which rounds to 3 digits; 1.1 excludes differences by chance."""
_BATCH, _TIMES = 16, 3


@dataclass(frozen=True)
class Precision:
    """The measured speedup, and the choice."""

    speedup: float | None
    """The speed of bfloat16 relative to float32; None where the hardware has no bfloat16 multiplication."""

    @property
    def bfloat16(self) -> bool:
        """Whether bfloat16 is used."""
        return self.speedup is not None and self.speedup >= WORTH_IT

    def __str__(self) -> str:
        if self.speedup is None:
            return "the backbone runs in float32, for this machine has no fast bfloat16"
        if self.bfloat16:
            return f"the backbone runs in bfloat16, {self.speedup:.2f} times as fast as float32 when measured here"
        return f"the backbone runs in float32, for bfloat16 was {self.speedup:.2f} times as fast when measured here"


def of_net(config: NetConfig, machine: Compute, cache: Cache) -> Precision:
    """Return the precision of a net's backbone, which is trained."""
    frames, height_px, width_px = config.image_shape
    return choose(machine, cache, config.backbone, (height_px, width_px), in_frames=frames, trained=True)


def of_embed(config: EmbedConfig, machine: Compute, cache: Cache) -> Precision:
    """Return the precision of a frozen backbone that reads single frames."""
    size_px = FRAME_HEIGHT_PX, FRAME_WIDTH_PX
    return choose(machine, cache, config.backbone, size_px, in_frames=1, trained=False)


def choose(
    machine: Compute, cache: Cache, backbone: str, size_px: tuple[int, int], *, in_frames: int, trained: bool
) -> Precision:
    """Return the precision of a backbone on this machine; measure the speedup if the cache has none.

    A cached choice never changes, because it is part of a step's configuration.

    Args:
        machine: the device, threads and hardware.
        cache: the cache of the choice.
        backbone: a name that `backbones.build` knows.
        size_px: height and width of its input.
        in_frames: frames per input.
        trained: whether gradients are computed, too.
    """
    if not machine.bfloat16:
        return Precision(None)
    work = [backbone, size_px, in_frames, trained, machine.device, machine.threads]
    key = digests.sha256_of_records([[digests.canonical_json([*work, torch.__version__, platform.node()])]])

    def measure(path: Path) -> None:
        speedup = _speedup(machine.device, machine.threads, backbone, size_px, in_frames, trained)
        path.write_text(json.dumps({"speedup": speedup, "work": work}))

    return Precision(json.loads(cache.get(PRECISION, f"{key}.json", measure).read_text())["speedup"])


@lru_cache
def _speedup(
    device: str, threads: int, backbone: str, size_px: tuple[int, int], in_frames: int, trained: bool
) -> float:
    """Alternate the same work in both precisions with `threads` threads, and compare the fastest time of each."""
    net = backbones.untrained(backbones.find(backbone).spec, in_frames=in_frames)
    net = net.to(device).to(memory_format=torch.channels_last).train(trained)
    images = torch.zeros(_BATCH, 3 * in_frames, *size_px, device=device).to(memory_format=torch.channels_last)

    def seconds(bfloat16: bool) -> float:
        started_s = time.perf_counter()
        with torch.set_grad_enabled(trained), compute.autocast(device, bfloat16):
            seen = net(images).float().mean()
        if trained:
            seen.backward()
        seen.item()  # waits for a GPU
        return time.perf_counter() - started_s

    for bfloat16 in (False, True):
        seconds(bfloat16)  # warm-up
    measured = [(seconds(False), seconds(True)) for _ in range(_TIMES)]
    return min(plain for plain, _ in measured) / min(coarse for _, coarse in measured)
