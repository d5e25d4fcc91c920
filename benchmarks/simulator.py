"""How the simulated drives compare with the published statistics of the competition's data.

Every line has the figure found, the published one, the range that counts as alike, and a verdict. The published figures
were printed in public notebooks of the competition's participants.

    python -m benchmarks.simulator --scenes 905
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import click
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from tqdm import tqdm
from xgboost import XGBRegressor

from atma18 import simulate
from atma18.features import feature_table
from atma18.schema import (
    CAN_SIGNALS,
    FRAME_SHAPE,
    GEAR,
    GEARS,
    TARGETS,
    FloatArray,
    FrameRows,
    Samples,
    StrArray,
    canonical_order,
    split_id,
)
from atma18.simulate.scenes import SCENES_BY_SIZE, Sample

SPLITS = ("train", "test")
TOLERANCE, TOLERANCE_OF_STD = 0.15, 0.05
SHARE_POINTS = 0.03
FOLDS = 5

# Mean, standard deviation and quartiles of the training samples.
SIGNALS = {
    "vEgo": (9.1722, 7.2269, 2.5787, 8.5188, 14.2868),
    "aEgo": (-0.01565, 0.6324, -0.2364, 0.0, 0.2223),
    "steeringAngleDeg": (-2.065, 65.549, -3.462, -0.356, 2.627),
    "steeringTorque": (-19.01, 110.80, -94.0, -13.0, 51.0),
    "gas": (0.0840, 0.1098, 0.0, 0.0, 0.165),
}
STATISTICS = ("mean", "std", "25 %", "50 %", "75 %")
SHARES = {"brakePressed": 0.3076, "gasPressed": 0.4836, "leftBlinker": 0.0780, "rightBlinker": 0.1027}
GEAR_SHARES = dict(zip(GEARS, (43251 / 43371, 115 / 43371, 3 / 43371, 2 / 43371), strict=True))
# Standard deviation and quartiles of the difference to the sample 10 s earlier.
DIFFERENCES = {
    "vEgo": (2.6, -1.0, 1.0),
    "aEgo": (0.86, -0.32, 0.37),
    "gas": (0.127, None, None),
    "steeringAngleDeg": (74.6, -3.2, 3.2),
    "steeringTorque": (150.0, None, None),
}
TARGET_STD_M = {
    "x": (3.267, 6.894, 10.521, 14.147, 17.773, 21.398),
    "y": (0.1169, 0.3277, 0.6377, 1.0418, 1.5345, 2.1111),
    "z": (0.0407, 0.0834, 0.1271, 0.1729, 0.2208, 0.2717),
}
LADDER_M = {
    "constant mean": (3.70, 3.3, 4.1),
    "ridge on vEgo": (0.4333, 0.38, 0.48),
    "ridge on all CAN": (0.3402, 0.30, 0.38),
    "XGBoost on all CAN": (0.2356, 0.22, 0.26),
}


@dataclass(frozen=True)
class Line:
    """One comparison."""

    what: str
    found: float
    published: float | None
    low: float
    high: float

    @property
    def alike(self) -> bool:
        """Whether what was found lies in the range."""
        return bool(self.low <= self.found <= self.high)


def near(what: str, found: float, published: float, std: float) -> Line:
    """Compare within 15 %, or 0.05 of the signal's standard deviation, whichever is larger."""
    slack = max(TOLERANCE * abs(published), TOLERANCE_OF_STD * std)
    return Line(what, found, published, published - slack, published + slack)


@dataclass(frozen=True)
class Drives:
    """Simulated samples without their frames."""

    tables: dict[str, pd.DataFrame]
    """Per split: ID, signals and targets in canonical order."""
    samples: dict[str, list[Sample]]
    """Per split, rows as in the table."""

    @classmethod
    def draw(cls, plan: simulate.Plan) -> "Drives":
        """Draw a plan's scenes; no frame is rendered."""
        drawn: dict[str, list[Sample]] = {split: [] for split in SPLITS}
        for task in tqdm(plan.scenes(), desc="draw", unit="scene", disable=None):
            scene = simulate.draw_scene(task.seed, task.split, task.index, task.size)
            drawn[task.split].extend(scene.samples)
        tables, samples = {}, {}
        for split, found in drawn.items():
            order = canonical_order([sample.sample_id for sample in found])
            samples[split] = [found[row] for row in order]
            tables[split] = simulate.table(samples[split])
        return cls(tables, samples)

    @property
    def scenes(self) -> StrArray:
        """(N,) the scene of each training sample."""
        return np.array([split_id(i)[0] for i in self.tables["train"]["ID"]])

    @property
    def targets_m(self) -> FloatArray:
        """(N, 18) of the training samples."""
        return self.tables["train"][list(TARGETS)].to_numpy(np.float64)

    def can(self) -> pd.DataFrame:
        """Return the CAN signals of the training samples as numbers."""
        return self.tables["train"][list(CAN_SIGNALS)].astype(np.float64)

    def with_scene(self) -> pd.DataFrame:
        """Return CAN signals, scene statistics and neighbours of the training samples: what gbdt reads of them."""
        table = self.tables["train"]
        frames = np.broadcast_to(np.zeros(1, np.uint8), (len(table), *FRAME_SHAPE))
        gear = table[GEAR].to_numpy(dtype=np.str_)
        samples = Samples(table["ID"].to_numpy(dtype=np.str_), self.can(), gear, None, FrameRows.of(frames))
        return feature_table(samples, None, None, {}, cells=0, causal=False)

    def hidden(self) -> pd.DataFrame:
        """Return what only the frames show of the training samples."""
        return pd.DataFrame([_hidden(sample) for sample in self.samples["train"]]).astype(np.float64)


def _hidden(sample: Sample) -> dict[str, float]:
    moment = sample.moment
    lead, light = moment.lead, moment.light
    return {
        "bend_start_m": moment.bend_start_m,
        "bend_per_m": moment.bend_per_m,
        "left_of_lane_m": moment.left_of_lane_m,
        "lead_gap_m": lead.gap_m if lead else np.nan,
        "lead_speed_mps": lead.speed_mps if lead else np.nan,
        "lead_brakes": lead.brakes if lead else np.nan,
        "light_stop_m": light.stop_m if light else np.nan,
        "light_is_red": light.colour == "red" if light else np.nan,
    }


def statistics(drives: Drives) -> Iterator[Line]:
    """Compare counts, signals, differences and targets."""
    train = drives.tables["train"]
    yield from _sizes(drives)
    for name, published in SIGNALS.items():
        found = train[name].agg(["mean", "std"]).tolist() + train[name].quantile([0.25, 0.5, 0.75]).tolist()
        for what, one, other in zip(STATISTICS, found, published, strict=True):
            yield near(f"{name}, {what}", one, other, published[1])
    shares = {name: float(train[name].mean()) for name in SHARES}
    shares |= {f"gear {name}": float((train[GEAR] == name).mean()) for name in GEARS}
    expected = SHARES | {f"gear {name}": share for name, share in GEAR_SHARES.items()}
    for name, share in shares.items():
        yield Line(
            f"{name}, share", share, expected[name], expected[name] - SHARE_POINTS, expected[name] + SHARE_POINTS
        )
    yield from _differences(drives)
    for axis, published_m in TARGET_STD_M.items():
        for k, std_m in enumerate(published_m):
            yield Line(f"{axis}_{k}, std m", float(train[f"{axis}_{k}"].std()), std_m, 0.8 * std_m, 1.2 * std_m)
    y = train["y_5"]
    yield Line("y_5, mean absolute deviation / std", float((y - y.mean()).abs().mean() / y.std()), 0.505, 0.45, 0.60)


def _sizes(drives: Drives) -> Iterator[Line]:
    for split in SPLITS:
        scenes = drives.tables[split]["ID"].str.rsplit("_", n=1).str[0]
        found = scenes.value_counts().value_counts()
        published = np.array(SCENES_BY_SIZE[split])
        for size, share in enumerate(published / published.sum(), start=1):
            expected = share * found.sum()
            yield Line(f"{split} scenes of {size}", float(found.get(size, 0)), expected, expected - 1, expected + 1)


def _differences(drives: Drives) -> Iterator[Line]:
    train = drives.tables["train"]
    decisecond = train["ID"].str.rsplit("_", n=1).str[1].astype(int)
    neighbours = (drives.scenes[1:] == drives.scenes[:-1]) & (decisecond.diff()[1:] == 100)
    for name, (std, low, high) in DIFFERENCES.items():
        difference = train[name].diff()[1:][neighbours]
        yield near(f"{name}, std over 10 s", float(difference.std()), std, std)
        for what, share, published in (("25 %", 0.25, low), ("75 %", 0.75, high)):
            if published is not None:
                yield near(f"{name}, {what} over 10 s", float(difference.quantile(share)), published, std)


def ladder(drives: Drives, threads: int) -> Iterator[Line]:
    """Compare what ever better informed models reach, by cross-validated MAE with scene-grouped folds."""
    truth_m, can = drives.targets_m, drives.can()

    def mae_m(model: object, features: pd.DataFrame) -> float:
        predicted_m = cross_val_predict(model, features, truth_m, groups=drives.scenes, cv=GroupKFold(FOLDS))
        return float(np.abs(predicted_m - truth_m).mean())

    def trees() -> XGBRegressor:
        return XGBRegressor(n_estimators=600, learning_rate=0.05, max_depth=6, tree_method="hist", n_jobs=threads)

    def rung(what: str, found: float) -> Line:
        return Line(f"MAE m, {what}", found, *LADDER_M[what])

    constant = pd.DataFrame({"one": np.zeros(len(can))})
    yield rung("constant mean", mae_m(LinearRegression(), constant))
    yield rung("ridge on vEgo", mae_m(Ridge(), can[["vEgo"]]))
    yield rung("ridge on all CAN", mae_m(Ridge(), can))
    yield Line("R2 of z_5, ridge on all CAN", _r2(can, drives), 0.06, -1.0, 0.2)
    of_can = mae_m(trees(), can)
    yield rung("XGBoost on all CAN", of_can)
    of_scene = mae_m(trees(), drives.with_scene())
    yield Line("gain m, scene statistics and neighbours", of_can - of_scene, None, 0.015, 0.035)
    of_all = mae_m(trees(), pd.concat([drives.with_scene(), drives.hidden()], axis=1))
    yield Line("gain m, what only the frames show", of_scene - of_all, None, 0.03, np.inf)


def _r2(features: pd.DataFrame, drives: Drives) -> float:
    truth = drives.tables["train"]["z_5"].to_numpy()
    predicted = cross_val_predict(Ridge(), features, truth, groups=drives.scenes, cv=GroupKFold(FOLDS))
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


@click.command()
@click.option("--scenes", default=9053, show_default=True, help="Training scenes; test scenes in proportion.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of XGBoost.")
@click.option("--quick", is_flag=True, help="300 scenes, and no ladder.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where all lines are written too.")
def main(scenes: int, seed: int, threads: int, quick: bool, file: Path | None) -> None:
    """Print every figure of simulated drives beside the published one."""
    scenes = 300 if quick else scenes
    drives = Drives.draw(simulate.Plan(scenes, max(1, round(scenes * 468 / 9053)), seed))
    lines = []
    for line in chain(statistics(drives), () if quick else ladder(drives, threads)):
        lines.append(line)
        click.echo(_text(line))
    unlike = sum(not line.alike for line in lines)
    click.echo(f"{len(lines) - unlike} of {len(lines)} alike, {scenes} scenes, seed {seed}")
    if file is not None:
        file.write_text(json.dumps([asdict(line) | {"alike": line.alike} for line in lines], indent=1))


def _text(line: Line) -> str:
    published = "" if line.published is None else f"{line.published:.4f}"
    verdict = "alike" if line.alike else "UNLIKE"
    return f"{line.what:45} {line.found:10.4f} {published:>10}   {line.low:9.4f} … {line.high:<9.4f} {verdict}"


if __name__ == "__main__":
    main()
