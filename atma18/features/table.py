"""The feature table of the boosted trees: one row per sample, each column named `group/feature`."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri

from atma18.compute.once import once
from atma18.schema import (
    LIGHT_BOX,
    LIGHT_CLASSES,
    NUMERIC_SIGNALS,
    TARGETS,
    Float32Array,
    FloatArray,
    IntArray,
    Samples,
    StrArray,
    first_few,
)

SCENE_SIGNALS = tuple(name for name in NUMERIC_SIGNALS if name != "brake")
"""Signals with scene statistics and neighbours; brake is always 0 in the competition."""
GEAR_FLAGS = ("drive", "park")
LIGHT_COLOURS = ("red", "yellow", "green")
FRAME_PAIRS = ("t_t-0.5", "t-0.5_t-1.0")
"""Pairs of frames whose similarity is a feature; times in seconds."""

STACKING_NOISE_M: FloatArray = np.array(
    [
        *(0.03, 0.015, 0.01),
        *(0.05, 0.03, 0.02),
        *(0.08, 0.04, 0.025),
        *(0.10, 0.065, 0.035),
        *(0.15, 0.09, 0.045),
        *(0.20, 0.13, 0.05),
    ]
)
"""(18,) metres: the published noise per target; one line per horizon with x, y, z."""


def feature_table(
    samples: Samples,
    svd: Float32Array | None,
    similarity: Float32Array | None,
    stacked: Mapping[str, FloatArray],
    *,
    cells: int,
    causal: bool,
    motion_m: FloatArray | None = None,
    light_geometry: bool = False,
) -> pd.DataFrame:
    """Build the table of all features.

    Args:
        samples: N samples in canonical order; neighbours and statistics come only from these samples.
        svd: (N, cells * components) SVD components of the frame at t, cell after cell.
        similarity: (N, cells * 2), cell after cell: frames t and t-0.5 s, then t-0.5 s and t-1.0 s.
        stacked: model → its (N, 18) predictions, metres, vehicle frame at t.
        cells: number of cells of a frame, row by row.
        causal: leave out features of later samples of the scene.
        motion_m: (N, 6, 3) waypoints of a motion model, metres, vehicle frame at t; None to leave them out.
        light_geometry: add the position and height of the largest light of each colour.

    Returns:
        (N, F) float32 with unique column names `group/feature`; NaN where a scene has no neighbour.

    Raises:
        ValueError: If an array has another shape, or a detection an unknown class or ID.
    """
    groups = [
        _of_samples(samples, causal, light_geometry),
        _svd(svd, len(samples), cells),
        _similarity(similarity, len(samples), cells),
        *([] if motion_m is None else [_motion(motion_m)]),
        *(_stacked(name, values_m, len(samples)) for name, values_m in stacked.items()),
    ]
    return _joined(groups)


@once
def _of_samples(samples: Samples, causal: bool, light_geometry: bool) -> pd.DataFrame:
    """Return the features that follow from signals and lights, which are the same in every fold."""
    groups = [
        _can(samples),
        _scene_statistics(samples, causal=causal),
        _neighbours(samples, causal=causal),
        _lights(samples),
        *([_light_geometry(samples)] if light_geometry else []),
        _gear(samples),
    ]
    return _joined(groups)


def scene_context(samples: Samples, *, causal: bool) -> pd.DataFrame:
    """Return the features of the other samples of a scene, without NaN: a missing neighbour is the sample itself.

    Args:
        samples: N samples in canonical order.
        causal: leave out features of later samples of the scene.

    Returns:
        (N, F) with column names `group/feature`.
    """
    signals = _scene_signals(samples)
    table = _neighbours(samples, causal=causal)
    columns = [str(name) for name in table]
    own = {name: signals[name.split("/")[1].rsplit("_", 1)[0]] for name in columns if name.startswith("shift/")}
    filled = table.fillna(own).fillna(0.0)
    return pd.concat([_scene_statistics(samples, causal=causal), filled], axis="columns")


def stacking_noise(ids: StrArray, model: str, seed: int, scale: float) -> FloatArray:
    """Draw noise for a stacked prediction, so that trees do not fit its small differences.

    The noise of an ID is a function of (seed, model, ID): its SHAKE-256 digest gives 18 uniform numbers, transformed by
    the inverse normal distribution. It does not depend on other IDs or on the order of rows.

    Args:
        ids: (N,) sample IDs.
        model: the model of the predictions; each model has its own noise.
        seed: seed of the noise.
        scale: share of the published noise.

    Returns:
        (N, 18) metres.
    """
    size = 8 * len(TARGETS)
    digests = (hashlib.shake_256(f"{seed}/{model}/{i}".encode()).digest(size) for i in ids.tolist())
    bits = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, len(TARGETS))
    uniform = ((bits >> np.uint64(12)) + 0.5) * 2.0**-52  # 52 bits and a half: never 0, never rounded up to 1
    return np.asarray(scale * STACKING_NOISE_M * ndtri(uniform))


def _joined(groups: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the columns of all groups, (N, F) float32, as one array."""
    columns = [name for group in groups for name in group.columns]
    return _framed(np.hstack([group.to_numpy(np.float32) for group in groups]), columns)


def _can(samples: Samples) -> pd.DataFrame:
    return samples.signals.reset_index(drop=True).add_prefix("can/")


def _scene_codes(samples: Samples) -> IntArray:
    """Return the (N,) number of each row's scene; the rows of a scene are adjacent."""
    return np.asarray(np.unique(samples.scenes, return_inverse=True)[1], dtype=np.int64)


def _scene_signals(samples: Samples) -> pd.DataFrame:
    present = [name for name in SCENE_SIGNALS if name in samples.signals]
    return samples.signals[present].reset_index(drop=True)


def _scene_statistics(samples: Samples, *, causal: bool) -> pd.DataFrame:
    signals, scene = _scene_signals(samples), _scene_codes(samples)
    values = signals.to_numpy(np.float64)
    statistics = _statistics_so_far(signals, scene) if causal else _statistics_of_all(values, scene)
    columns = [f"scene/{signal}_{name}" for name in statistics for signal in signals]
    return _framed(np.hstack(list(statistics.values())), columns)


def _statistics_of_all(signals: FloatArray, scene: IntArray) -> dict[str, FloatArray]:
    """Return (N, S) statistics of (N, S) signals over all samples of a row's scene."""
    starts = np.flatnonzero(np.diff(scene, prepend=-1))
    count = np.diff(starts, append=len(scene))[:, None]
    first = signals[starts]
    shifted = signals - first[scene]  # so that equal values have exactly their mean, and no spread
    mean = np.add.reduceat(shifted, starts) / count
    squares = np.add.reduceat((shifted - mean[scene]) ** 2, starts)
    of_scene = {
        "max": np.maximum.reduceat(signals, starts),
        "min": np.minimum.reduceat(signals, starts),
        "mean": first + mean,
        "std": np.sqrt(squares / np.maximum(count - 1, 1)),  # 0 for a lone sample
    }
    return {name: values[scene] for name, values in of_scene.items()}


def _statistics_so_far(signals: pd.DataFrame, scene: IntArray) -> dict[str, FloatArray]:
    """Return the same statistics over the samples up to and including each row."""
    grouped = signals.groupby(scene)
    count = grouped.cumcount() + 1
    first = grouped.transform("first")
    shifted = signals - first  # the difference below is at least 1/count of `squares`, without cancellation
    sums, squares = shifted.groupby(scene).cumsum(), (shifted**2).groupby(scene).cumsum()
    mean = sums.div(count, axis=0)
    variance = (squares - sums * mean).div((count - 1).clip(lower=1), axis=0)
    found = {"max": grouped.cummax(), "min": grouped.cummin(), "mean": first + mean, "std": variance**0.5}
    return {name: table.to_numpy(np.float64) for name, table in found.items()}


def _steps_beside(*, causal: bool) -> list[tuple[str, int]]:
    """Return the names of the neighbours, each with the shift that brings it to the row of its sample."""
    return [("prev", 1)] if causal else [("prev", 1), ("next", -1)]


def _neighbours(samples: Samples, *, causal: bool) -> pd.DataFrame:
    signals, scene = _scene_signals(samples), _scene_codes(samples)
    values = signals.to_numpy(np.float64)
    parts, columns = [], []
    for name, step in _steps_beside(causal=causal):
        shifted = np.full_like(values, np.nan)
        rows = np.flatnonzero(scene[1:] == scene[:-1])  # a row and the next one are of one scene
        here, there = (rows + 1, rows) if step > 0 else (rows, rows + 1)
        shifted[here] = values[there]
        parts += [shifted, values - shifted]
        columns += [f"{group}/{signal}_{name}" for group in ("shift", "diff") for signal in signals]
    return _framed(np.hstack(parts), columns)


def _lights(samples: Samples) -> pd.DataFrame:
    """Count every detection of each class; one box may carry several classes, such as red and an arrow."""
    if samples.traffic_lights is None:
        return pd.DataFrame(index=range(len(samples)))
    row = pd.Index(samples.ids).get_indexer(pd.Index(samples.traffic_lights["ID"]))
    column = pd.Index(LIGHT_CLASSES).get_indexer(pd.Index(samples.traffic_lights["class"]))
    if (bad := (row < 0) | (column < 0)).any():
        found = samples.traffic_lights.loc[bad, ["ID", "class"]].astype(str).agg(" ".join, axis=1)
        raise ValueError(f"lights: expected IDs of the samples and classes {LIGHT_CLASSES}, found {first_few(found)}")
    counts = np.zeros((len(samples), len(LIGHT_CLASSES)))
    np.add.at(counts, (row, column), 1)
    table = pd.DataFrame(counts, columns=[f"lights/{name}" for name in LIGHT_CLASSES])
    return table.assign(**{"lights/total": counts.sum(axis=1)})


def _light_geometry(samples: Samples) -> pd.DataFrame:
    """Return the height and the middle of the largest light of each colour, in pixels; NaN where there is none."""
    columns = [f"lights/{colour}_{what}_px" for colour in LIGHT_COLOURS for what in ("height", "u", "v")]
    found = pd.DataFrame(np.nan, index=range(len(samples)), columns=columns)
    if samples.traffic_lights is None:
        return found
    left, top, right, bottom = (samples.traffic_lights[name] for name in LIGHT_BOX)
    boxes = samples.traffic_lights[["ID", "class"]].assign(
        height=bottom - top, u=(left + right) / 2, v=(top + bottom) / 2
    )
    largest = boxes.sort_values("height", kind="stable").drop_duplicates(["ID", "class"], keep="last")
    for colour in LIGHT_COLOURS:
        of_colour = largest[largest["class"] == colour]
        rows = pd.Index(samples.ids).get_indexer(pd.Index(of_colour["ID"]))
        for what in ("height", "u", "v"):
            found.loc[rows, f"lights/{colour}_{what}_px"] = of_colour[what].to_numpy()
    return found


def _motion(waypoints_m: FloatArray) -> pd.DataFrame:
    flat = waypoints_m[..., :2].reshape(len(waypoints_m), -1)
    return _named(flat, len(flat), [f"motion/{name}" for name in TARGETS if not name.startswith("z")])


def _gear(samples: Samples) -> pd.DataFrame:
    gear = samples.gear
    flags = {} if gear is None else {f"gear/{name}": gear == name for name in GEAR_FLAGS}
    return pd.DataFrame(flags, index=range(len(samples)))


def _svd(svd: Float32Array | None, n: int, cells: int) -> pd.DataFrame:
    if svd is None:
        return pd.DataFrame(index=range(n))
    components = svd.shape[1] // cells
    return _named(svd, n, [f"svd/cell{cell}_{c}" for cell in range(cells) for c in range(components)])


def _similarity(similarity: Float32Array | None, n: int, cells: int) -> pd.DataFrame:
    if similarity is None:
        return pd.DataFrame(index=range(n))
    pairs = FRAME_PAIRS if similarity.shape[1] else ()  # a single grid has none
    return _named(similarity, n, [f"similarity/cell{cell}_{pair}" for cell in range(cells) for pair in pairs])


def _stacked(model: str, values_m: FloatArray, n: int) -> pd.DataFrame:
    return _named(values_m, n, [f"{model}/{target}" for target in TARGETS])


def _named(values: Float32Array | FloatArray, n: int, columns: list[str]) -> pd.DataFrame:
    if values.shape != (n, len(columns)):
        group = columns[0].split("/")[0] if columns else "features"
        raise ValueError(f"{group}: expected shape {(n, len(columns))}, found {values.shape}")
    return _framed(values, columns)


def _framed(values: Float32Array | FloatArray, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table; names as Python objects, because pandas converts texts to Arrow's and back at every step."""
    return pd.DataFrame(values, columns=pd.Index(list(columns), dtype="object"))
