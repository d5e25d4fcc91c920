"""Blends that are fitted to few scenes: how often, and by how much, they err more than their best input.

Each draw is a set of scenes with the errors of two to four sound inputs. Errors have heavy tails and are correlated
within a scene, between inputs and over the horizon. Inputs differ in how much they err, and in the share of their error
that a scene's rows have in common. The best input is known only afterwards, so that no rule can choose it each time.
In the absurd case, the last input is 130 m off at one waypoint of one fold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from atma18 import blending
from atma18.config import BlendConfig
from atma18.schema import AXES, WAYPOINT_TIMES_S, FloatArray, IntArray, StrArray

SCENES = (12, 24, 48)
MANY_SCENES, MANY_DRAWS = 500, 8
ABSURD_M = 130.0
FOLDS = 3
METHODS: tuple[Literal["exact", "shrunk"], ...] = ("exact", "shrunk")
WORSE, FAR_WORSE = 1.02, 1.1
_SIZES, _SHARES = (1, 2, 3, 4, 5, 6), (0.1, 0.1, 0.1, 0.15, 0.2, 0.35)
_SCALE_M = np.outer(WAYPOINT_TIMES_S, [0.2, 0.17, 0.02]).ravel()
_TAILS = 3.0
"""Degrees of freedom of Student's t: no fourth moment."""


@dataclass(frozen=True)
class Draw:
    """The errors of M inputs on N rows; the targets are 0."""

    errors_m: FloatArray
    """(M, N, 18) metres."""
    sizes: IntArray
    scenes: StrArray
    folds: IntArray

    @classmethod
    def of(cls, count: int, seed: int, absurd: bool) -> Self:
        """Draw a number of scenes."""
        rng = np.random.default_rng([2026, count, seed])
        sizes = rng.choice(_SIZES, p=_SHARES, size=count)
        scene = np.repeat(np.arange(count), sizes)
        errors_m = _errors_m(rng, scene, inputs=int(rng.integers(2, 5)))
        folds = rng.permutation(np.arange(count) % FOLDS)[scene]
        if absurd:
            errors_m[-1, rng.choice(np.flatnonzero(folds == 0)), -3] += ABSURD_M  # x of the last waypoint
        return cls(errors_m, sizes[scene], np.array([f"s{number:04}" for number in scene]), folds)

    def ratio(self, method: Literal["exact", "shrunk"]) -> float:
        """Return the cross-fitted error of a blend as a share of that of its best input."""
        config = BlendConfig(method=method)
        names = [f"input {k}" for k in range(len(self.errors_m))]
        nothing_m = np.zeros(self.errors_m.shape[1:])
        rows = (self.errors_m, nothing_m, self.sizes, self.scenes)
        blended_m = blending.cross_fit(*rows, self.folds, config, names)
        return float(np.abs(blended_m).mean() / np.abs(self.errors_m).mean(axis=(1, 2)).min())


def compare(count: int, draws: int, absurd: bool = False) -> dict[str, float]:
    """Return of both methods the shares of draws that are worse than the best input, and the worst and mean ratio."""
    found: dict[str, float] = {}
    for method in METHODS:
        ratios = np.array([Draw.of(count, seed, absurd).ratio(method) for seed in range(draws)])
        found |= {
            f"{method}_worse": float((ratios > WORSE).mean()),
            f"{method}_far_worse": float((ratios > FAR_WORSE).mean()),
            f"{method}_worst": float(ratios.max()),
            f"{method}_mean": float(ratios.mean()),
        }
    return {"draws": draws, **found}


def compare_all(draws: int, quick: bool) -> dict[str, dict[str, float]]:
    """Compare both methods at each number of scenes, and with an absurd input; `quick` leaves out the many scenes."""
    found = {f"{count}": compare(count, draws) for count in (SCENES[:1] if quick else SCENES)}
    found[f"{SCENES[0]} absurd"] = compare(SCENES[0], draws, absurd=True)
    return found if quick else found | {f"{MANY_SCENES}": compare(MANY_SCENES, MANY_DRAWS)}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the figures as lines of text."""
    lines = [f"{'scenes':12} draws  method  above {WORSE}  above {FAR_WORSE}  worst   mean (1 is the best input)"]
    for name, figures in found.items():
        for method in METHODS:
            worse, far, worst, mean = (figures[f"{method}_{what}"] for what in ("worse", "far_worse", "worst", "mean"))
            shares = f"{worse:11.1%} {far:10.1%} {worst:6.3f} {mean:6.4f}"
            lines.append(f"{name:12} {figures['draws']:5} {method:>7} {shares}")
    return "\n".join(lines)


def _errors_m(rng: np.random.Generator, scene: IntArray, inputs: int) -> FloatArray:
    """Return (M, N, 18) errors: what inputs share and what is their own, each of scenes, rows and numbers."""
    rows = len(scene)
    hard = np.exp(0.35 * rng.normal(size=scene[-1] + 1))[scene, None]

    def tailed(of_scene: float, of_row: float) -> FloatArray:
        """Return (N, 18) errors that are alike at all waypoints of an axis."""
        by_scene = of_scene * rng.standard_t(_TAILS, size=(scene[-1] + 1, len(AXES)))[scene]
        by_row = of_row * rng.standard_t(_TAILS, size=(rows, len(AXES)))
        return np.tile(by_scene + by_row, len(WAYPOINT_TIMES_S))

    together, sound = tailed(0.5, 0.4), rng.permutation(np.linspace(1.0, 1.0 + rng.uniform(0.0, 0.5), inputs))
    own = [tailed(rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.4)) for _ in range(inputs)]
    each = [0.2 * rng.standard_t(_TAILS, size=(rows, 18)) for _ in range(inputs)]
    return np.stack([s * _SCALE_M * hard * (together + o + e) for s, o, e in zip(sound, own, each, strict=True)])
