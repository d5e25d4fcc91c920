"""What turns samples into a net's inputs, and its outputs into metres; every statistic comes from the training rows."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from atma18.compute.once import once
from atma18.config import Modalities, NetConfig, Target
from atma18.features import scene_context
from atma18.features.standardise import mean_and_scale
from atma18.geometry import mirror
from atma18.geometry.baseline import Baseline
from atma18.schema import TARGETS, Float32Array, FloatArray, IntArray, Samples


@dataclass(frozen=True)
class Scaling:
    """Scaling of a net's inputs and outputs; every statistic comes from the training rows."""

    signals: tuple[str, ...]
    """The names of the available signals."""
    modalities: Modalities
    """Whether the net reads signals and frames, or frames alone."""
    context: bool
    """Whether the net also reads features of the other samples of a scene."""
    causal: bool
    """Whether these features use earlier samples only."""
    target: Target
    """The baseline: an output is a difference to it."""
    by_speed: bool
    """Whether the difference is a multiple of the car's `kinematics.pace`."""
    signal_mean: FloatArray
    """(inputs,) mean of the signals, then of the context."""
    signal_scale: FloatArray
    target_mean_m: FloatArray
    """(18,) difference at an output of 0."""
    target_scale_m: FloatArray
    """(18,) change of the difference per unit of output."""
    motion: FloatArray = field(default_factory=lambda: np.empty(0))
    """Parameters of the motion model, if it is the target's baseline or lays the view's path; else empty, as in files
    older than this field."""
    input_range: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    """(2, inputs) least and largest input of the training rows, which no input may leave; empty for no bounds."""
    difference_range: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    """(2, 18) least and largest difference of the training rows, which no prediction may leave; empty for no bounds."""

    def __post_init__(self) -> None:
        inputs, targets = (len(self.signal_mean),), (len(TARGETS),)
        shapes = [self.signal_mean.shape, self.signal_scale.shape, self.target_mean_m.shape, self.target_scale_m.shape]
        if shapes != [inputs, inputs, targets, targets]:
            raise ValueError(f"expected scales of shape {inputs} and {targets}, each with a mean, found {shapes}")
        ranges = [self.input_range.shape, self.difference_range.shape]
        if ranges not in ([(0, 0), (0, 0)], [(2, *inputs), (2, *targets)]):
            raise ValueError(f"expected ranges of {inputs[0]} inputs and {targets[0]} differences, found {ranges}")
        if self.modalities == "all" and not self.context and inputs not in ((0,), (len(self.signals),)):
            raise ValueError(f"expected {len(self.signals)} inputs, found {inputs[0]}")

    @classmethod
    def fit(cls, config: NetConfig, samples: Samples, targets_m: FloatArray, rows: IntArray) -> Self:
        """Compute means and standard deviations over these rows; absolute targets stay unscaled, in metres."""
        baseline = Baseline.fit(
            config.target, config.by_speed, samples.take(rows), targets_m[rows], motion=config.view == "path"
        )
        unscaled = cls(
            signals=tuple(samples.signals.columns),
            modalities=config.modalities,
            context=config.context,
            causal=config.causal,
            target=config.target,
            by_speed=config.by_speed,
            signal_mean=np.empty(0),
            signal_scale=np.empty(0),
            target_mean_m=np.zeros(len(TARGETS)),
            target_scale_m=np.ones(len(TARGETS)),
            motion=baseline.motion,
        )
        read = unscaled._read(samples)[rows]
        signal_mean, signal_scale = mean_and_scale(read)
        scaled = replace(unscaled, signal_mean=signal_mean, signal_scale=signal_scale)
        difference = baseline.difference(samples, targets_m)[rows]
        if config.bounded:
            scaled = scaled._bounded(config, samples.take(rows), read, difference)
        if config.target == "absolute":
            return scaled
        target_mean_m, target_scale_m = _output_scales(config, difference)
        return replace(scaled, target_mean_m=target_mean_m, target_scale_m=target_scale_m)

    def _bounded(self, config: NetConfig, samples: Samples, read: FloatArray, difference: FloatArray) -> Self:
        """Add the ranges of the training rows, and with `mirror` those of their mirrored ones."""
        if config.mirror:
            read = np.concatenate([read, self._read(mirror.samples(samples))])
            difference = np.concatenate([difference, mirror.waypoints(difference)])
        input_range, difference_range = (np.stack([v.min(axis=0), v.max(axis=0)]) for v in (read, difference))
        return replace(self, input_range=input_range, difference_range=difference_range)

    @property
    def baseline(self) -> Baseline:
        """The baseline: an output is a difference to it."""
        return Baseline(self.target, self.by_speed, self.motion)

    @property
    def width(self) -> int:
        """The number of inputs beside the frames."""
        return len(self.signal_mean)

    def inputs(self, samples: Samples) -> Float32Array:
        """Return (N, inputs) standardised values.

        Raises:
            ValueError: If there are more inputs, or fewer, than the scales are for.
        """
        read = self._read(samples)
        if read.shape[1] != self.width:
            raise ValueError(f"expected scales for {read.shape[1]} inputs, found {self.width}: make this model again")
        return ((_within(read, self.input_range) - self.signal_mean) / self.signal_scale).astype(np.float32)

    def outputs(self, samples: Samples, targets_m: FloatArray) -> Float32Array:
        """Return the (N, 18) outputs that correspond to these targets."""
        difference = self.baseline.difference(samples, targets_m)
        return ((difference - self.target_mean_m) / self.target_scale_m).astype(np.float32)

    def metres(self, samples: Samples, outputs: Float32Array) -> FloatArray:
        """Return the (N, 18) targets in metres that correspond to these outputs."""
        difference = outputs.astype(np.float64) * self.target_scale_m + self.target_mean_m
        return self.baseline.metres(samples, _within(difference, self.difference_range))

    def _read(self, samples: Samples) -> FloatArray:
        """Return (N, inputs) unscaled values."""
        if self.modalities == "frames":
            return np.empty((len(samples), 0))
        return _values_of(samples, self.signals, self.context, self.causal)


@once
def _values_of(samples: Samples, signals: tuple[str, ...], context: bool, causal: bool) -> FloatArray:
    """Return (N, inputs) signals, and with `context` features of the other samples of a scene."""
    read = replace(samples, signals=samples.signals[list(signals)])
    values: FloatArray = read.signals.to_numpy(np.float64)
    if not context:
        return values
    return np.column_stack([values, scene_context(read, causal=causal).to_numpy(np.float64)])


def _output_scales(config: NetConfig, difference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the (18,) differences at an output of 0, and per unit of output.

    With view path an output of 0 is the baseline itself, and all outputs have one unit, so that the loss counts metres.
    """
    if config.view == "frame":
        return mean_and_scale(difference)
    return np.zeros(len(TARGETS)), np.full(len(TARGETS), np.abs(difference).mean() or 1.0)


def _within(values: FloatArray, bounds: FloatArray) -> FloatArray:
    """Move (N, F) values to the nearest ones within bounds (2, F); empty bounds leave them."""
    return np.clip(values, *bounds) if bounds.size else values
