"""Speed of gbdt's scene features, beside a function that is called for every scene.

The reference reimplements the published method: pandas' groupby-apply, one Python call per scene that computes its
maxima, minima, means, deviations, neighbours and differences. Signals are random, scene sizes are the competition's.

    python -m benchmarks.features --quick
"""

import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

from atma18.features import SCENE_SIGNALS, feature_table
from atma18.schema import CAN_SIGNALS, FRAME_SHAPE, FrameRows, Samples, canonical_order, split_id
from benchmarks import results

REFERENCE = "groupby-apply per scene"
ROWS, QUICK_ROWS = 45_098, 4_000
SCENES_OF_SIZE = (690, 672, 874, 997, 1274, 5014)
"""Of 1 to 6 samples, in the competition's two splits together."""


def make_samples(rows: int, seed: int = 0) -> Samples:
    """Return so many samples, or a few more, in scenes of the competition's sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(np.repeat(np.arange(1, 7), SCENES_OF_SIZE))
    scenes = int(np.searchsorted(np.cumsum(sizes), rows)) + 1
    ids = [f"{rng.bytes(16).hex()}_{20 + 100 * k}" for size in sizes[:scenes].tolist() for k in range(size)]
    ordered = np.array(ids)[canonical_order(ids)]
    signals = pd.DataFrame(rng.normal(size=(len(ids), len(CAN_SIGNALS))), columns=list(CAN_SIGNALS))
    frames = np.broadcast_to(np.zeros(1, np.uint8), (len(ids), *FRAME_SHAPE))
    return Samples(ordered, signals, None, None, FrameRows.of(frames))


def reference_table(samples: Samples) -> pd.DataFrame:
    """Return the features of scenes and neighbours, a scene at a time."""
    table = samples.signals[list(SCENE_SIGNALS)].assign(scene=[split_id(i)[0] for i in samples.ids.tolist()])
    grouped = table.groupby("scene", sort=False, group_keys=False)
    return grouped[list(SCENE_SIGNALS)].apply(_of_scene).astype(np.float32)


def _of_scene(scene: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in SCENE_SIGNALS:
        signal = scene[name]
        deviation = signal.std() if len(signal) > 1 else 0.0
        for what, value in {"max": signal.max(), "min": signal.min(), "mean": signal.mean(), "std": deviation}.items():
            columns[f"scene/{name}_{what}"] = pd.Series(value, scene.index)
        for what, step in {"prev": 1, "next": -1}.items():
            shifted = signal.shift(step)
            columns |= {f"shift/{name}_{what}": shifted, f"diff/{name}_{what}": signal - shifted}
    return pd.DataFrame(columns)


def measure(samples: Samples) -> dict[str, float]:
    """Work the features out both ways, one after the other, and compare them."""
    started_s = time.perf_counter()
    ours = feature_table(samples, None, None, {}, cells=0, causal=False)
    between_s = time.perf_counter()
    theirs = reference_table(samples)
    reference_seconds, seconds = time.perf_counter() - between_s, between_s - started_s
    found, expected = ours[list(theirs)].to_numpy(), theirs.to_numpy()
    if not np.array_equal(np.isnan(found), np.isnan(expected)):
        raise RuntimeError("expected the same missing values both ways, found others")
    return {
        "rows": len(samples),
        "seconds": seconds,
        "reference_seconds": reference_seconds,
        "ratio": reference_seconds / seconds,
        "worst_difference": float(np.nanmax(np.abs(found - expected))),
    }


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK_ROWS} rows instead of {ROWS}.")
@results.json_option
def main(quick: bool, file: Path | None) -> None:
    """Print the seconds both ways, their ratio, and the largest difference."""
    found = measure(make_samples(QUICK_ROWS if quick else ROWS))
    click.echo(
        f"{found['rows']} rows: {found['seconds']:.3f} s, {REFERENCE} {found['reference_seconds']:.1f} s, "
        f"ratio {found['ratio']:.0f}, largest difference {found['worst_difference']:.1g}"
    )
    results.keep(file, found)


if __name__ == "__main__":
    main()
