"""Rehearsals: a version carries a few scenes with the answers that its run stored, and answers them before it serves.

The comparison allows for what differs between machines: sums in another order. They differ by far less than
`TOLERANCE_M`, unless a sum crosses the threshold of a tree's split; then a row of trees moves a little.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from atma18.bundle.servable import Servable
from atma18.schema import TARGETS, FloatArray, IntArray, Samples, rows_of
from atma18.serving import request_rows

FILE = "rehearsal.parquet"
SCENES = 2
TOLERANCE_M = 1e-4
FLIPPED_M = 0.05
"""Farthest that a row may be off in which a split flips."""
FLIPPED_ROWS = 0.005
"""Share of the rows in which a split may flip, or one row."""


def write(path: Path, samples: Samples, predicted_m: FloatArray) -> None:
    """Keep the smallest and the largest scene, as a client would ask for them, with their answers.

    Args:
        path: the new file.
        samples: N samples of whole scenes.
        predicted_m: (N, 18) what the model predicts for them, metres, vehicle frame at t.
    """
    rows = some_scenes(samples, SCENES)
    request = request_rows.of_samples(samples.take(rows))
    request[list(TARGETS)] = predicted_m[rows]
    request.to_parquet(path, index=False)


def rehearse(servable: Servable, path: Path) -> int:
    """Answer the scenes of a file, compare with what is stored beside them, and return the number of samples.

    Raises:
        ValueError: If the servable refuses them, or answers otherwise.
    """
    table = pd.read_parquet(path)
    samples = request_rows.parse(table.drop(columns=list(TARGETS)), servable.sensors)
    stored = rows_of(samples.ids, table["ID"].to_numpy(dtype=np.str_), FILE)
    off_m = np.abs(servable.predict(samples) - table[list(TARGETS)].to_numpy(np.float64)[stored]).max(axis=1)
    check_answers(off_m)
    return len(samples)


def check_answers(off_m: FloatArray) -> None:
    """Refuse answers that differ by more than another machine's do.

    Args:
        off_m: (N,) the largest difference of each row, metres.

    Raises:
        ValueError: If too many rows differ, or one differs too much.
    """
    flipped, most = int((off_m > TOLERANCE_M).sum()), max(1, int(FLIPPED_ROWS * len(off_m)))
    if flipped > most or off_m.max() > FLIPPED_M:
        raise ValueError(
            f"expected the answers that its run stored: all within {TOLERANCE_M} m, but for {most} of {len(off_m)} "
            f"samples within {FLIPPED_M} m; found {flipped} farther off, by up to {off_m.max():.3g} m"
        )


def some_scenes(samples: Samples, count: int) -> IntArray:
    """Return the rows of up to `count` scenes, the largest and the smallest included."""
    scenes, inverse, sizes = np.unique(samples.scenes, return_inverse=True, return_counts=True)
    by_size = np.argsort(sizes, kind="stable")
    spread = by_size[np.linspace(0, len(scenes) - 1, min(count, len(scenes))).round().astype(int)]
    return np.flatnonzero(np.isin(inverse, spread))
