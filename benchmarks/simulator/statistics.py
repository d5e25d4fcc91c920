"""Counts, signals, differences and targets of simulated drives beside the published ones."""

from collections.abc import Iterator

import numpy as np

from atma18 import simulate
from atma18.schema import GEAR
from benchmarks.simulator import published
from benchmarks.simulator.drives import Drives
from benchmarks.simulator.published import Line, near, share


def statistics(drives: Drives) -> Iterator[Line]:
    """Compare everything but models."""
    yield from _layout(drives)
    yield from _signals(drives)
    yield from _differences(drives)
    yield from _targets(drives)
    yield from _lights(drives)


def _layout(drives: Drives) -> Iterator[Line]:
    for split in simulate.SPLITS:
        ids = drives.tables[split]["ID"].str.rsplit("_", n=1)
        found = ids.str[0].value_counts().value_counts()
        counts = np.array(simulate.SCENES_BY_SIZE[split])
        for size, part in enumerate(counts / counts.sum(), start=1):
            expected = part * found.sum()
            yield Line(f"{split} scenes of {size}", float(found.get(size, 0)), expected, expected - 1, expected + 1)
        off_grid = float((ids.str[1].astype(int) % 100 != 20).sum())
        yield Line(f"{split} samples off the grid 20 + 100k", off_grid, 0.0, 0.0, 0.0)


def _signals(drives: Drives) -> Iterator[Line]:
    train = drives.tables["train"]
    for name, expected in published.SIGNALS.items():
        found = [train[name].mean(), train[name].std(), *train[name].quantile([0.25, 0.5, 0.75])]
        for what, one, other in zip(published.STATISTICS, found, expected, strict=True):
            yield near(f"{name}, {what}", float(one), other, expected[1])
    yield share("vEgo within 0.14 m/s of 0", float((train["vEgo"].abs() < 0.14).mean()), published.AT_REST_SHARE)
    for name, expected_share in published.FLAG_SHARES.items():
        yield share(name, float(train[name].mean()), expected_share)
    for gear, expected_share in published.GEAR_SHARES.items():
        yield share(f"gear {gear}", float((train[GEAR] == gear).mean()), expected_share)


def _differences(drives: Drives) -> Iterator[Line]:
    train = drives.tables["train"]
    decisecond = train["ID"].str.rsplit("_", n=1).str[1].astype(int)
    neighbours = (drives.scenes[1:] == drives.scenes[:-1]) & (decisecond.diff()[1:] == 100)
    for name, (std, low, high) in published.DIFFERENCES.items():
        difference = train[name].diff()[1:][neighbours]
        yield near(f"{name}, std over 10 s", float(difference.std()), std, std)
        for what, part, expected in (("25 %", 0.25, low), ("75 %", 0.75, high)):
            if expected is not None:
                yield near(f"{name}, {what} over 10 s", float(difference.quantile(part)), expected, std)


def _targets(drives: Drives) -> Iterator[Line]:
    train = drives.tables["train"]
    for axis, stds_m in published.TARGET_STD_M.items():
        for k, std_m in enumerate(stds_m):
            yield Line(f"{axis}_{k}, std m", float(train[f"{axis}_{k}"].std()), std_m, 0.8 * std_m, 1.2 * std_m)
    y_m = train["y_5"]
    deviation = float((y_m - y_m.mean()).abs().mean() / y_m.std())
    yield Line("y_5, mean absolute deviation / std", deviation, published.MEAN_DEVIATION_OF_STD, 0.45, 0.60)


def _lights(drives: Drives) -> Iterator[Line]:
    samples, lit = sum(len(table) for table in drives.tables.values()), drives.boxes["ID"].nunique()
    yield share("samples with traffic lights", lit / samples, published.LIT_SHARE)
    per_lit = published.BOXES_PER_LIT
    yield Line("boxes per sample with lights", len(drives.boxes) / max(lit, 1), per_lit, 0.85 * per_lit, 1.15 * per_lit)
    found = drives.boxes["class"].value_counts(normalize=True)
    all_boxes = sum(published.BOXES.values())
    for name, boxes in published.BOXES.items():
        expected = boxes / all_boxes
        yield Line(f"boxes of class {name}, share", float(found.get(name, 0.0)), expected, expected / 3, 3 * expected)
