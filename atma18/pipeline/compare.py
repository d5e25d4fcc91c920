"""compare: the parts of the samples in which one run is better than others."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from atma18 import metrics, plots, tracking
from atma18.metrics import scores
from atma18.pipeline.blend import named_apart
from atma18.run_context import RunContext
from atma18.schema import shown
from atma18.tracking import Upstream

BOARD, SCENES = "where.png", "scenes_{}.png"


@dataclass(frozen=True)
class Comparison:
    """The comparison of the first run with the others."""

    runs: dict[str, Upstream]
    """By their names in the table, the first run first."""
    table: pd.DataFrame
    """The result of `scores.compare`."""

    @property
    def ours(self) -> str:
        """The name of the first run."""
        return next(iter(self.runs))

    @property
    def which(self) -> str:
        """One line: the run that each name stands for."""
        return ", ".join(f"{name} is run {upstream.run_id}" for name, upstream in self.runs.items())

    @property
    def text(self) -> str:
        """The table for a terminal: one line per part, with the gain of the first run over each other run."""
        first = self.table[self.table["model"] == self.ours]
        lines = pd.DataFrame({"part": _labels(first), "samples": first["samples"].to_numpy()})
        lines[f"{self.ours} MAE m"] = first["mae_m"].map("{:.4f}".format).to_numpy()
        for name in list(self.runs)[1:]:
            rows = self.table[self.table["model"] == name]
            lines[f"{name} MAE m"] = rows["mae_m"].map("{:.4f}".format).to_numpy()
            lines["better by m"] = [
                f"{g:+.4f} ({low:+.4f} to {high:+.4f}){'' if low <= 0 <= high else ' *'}"
                for g, low, high in zip(rows["gain_m"], rows["gain_low_m"], rows["gain_high_m"], strict=True)
            ]
        return lines.to_string(index=False)

    @property
    def verdicts(self) -> list[str]:
        """One sentence per other run: the difference to the first run, and whether it may be chance."""
        whole = self.table[(self.table["by"] == "") & (self.table["part"] == scores.ALL)]
        rows = {str(row["model"]): row for row in whole.to_dict("records")}
        return [_verdict(self.ours, name, rows[name]) for name in list(self.runs)[1:]]


def compare(context: RunContext, given: Sequence[str], folder: Path) -> Comparison:
    """Compare the OOF predictions of runs on the same data and folds, and draw in which parts the first is better.

    Args:
        context: the dataset and folds.
        given: two or more runs, by any kind of name; the first one is compared with each other one.
        folder: the folder of the figures: `where.png`, and `scenes_<name>.png` for each other run.

    Raises:
        ValueError: If there are fewer than two runs, a run is given twice, or a run has other data or folds.
    """
    names = [name.strip() for name in given]
    if len(names) < 2 or not all(names):
        raise ValueError(f"runs: expected two or more, separated by single commas, found {shown(','.join(given))}")
    resolved = [tracking.resolve(name, context) for name in names]
    named = {upstream.run_id: name for name, upstream in named_apart(names, resolved, what="runs").items()}
    runs = {named[upstream.run_id]: upstream for upstream in resolved}
    dataset, scenes = context.dataset, context.dataset.train.scenes
    oof_m = {name: upstream.predictions(context).oof_m for name, upstream in runs.items()}
    (ours, ours_m), *others = oof_m.items()
    parts = scores.training_parts(dataset.train, dataset.test)
    table = scores.compare(ours_m, dict(others), dataset.targets_m, parts, scenes, ours=ours)
    folder.mkdir(parents=True, exist_ok=True)
    plots.leaderboard(table).savefig(folder / BOARD, dpi=120)
    errors_m = {name: metrics.absolute_errors_m(m, dataset.targets_m).mean(axis=1) for name, m in oof_m.items()}
    for name, _ in others:
        figure = plots.scene_by_scene(errors_m[ours], errors_m[name], scenes, (ours, name))
        figure.savefig(folder / SCENES.format(name), dpi=120)
    return Comparison(runs, table)


def _labels(rows: pd.DataFrame) -> list[str]:
    return [f"{by} {part}".strip().replace("_", " ") for by, part in zip(rows["by"], rows["part"], strict=True)]


def _verdict(ours: str, name: str, row: Mapping[Hashable, float]) -> str:
    gain, low, high = (row[column] for column in ("gain_m", "gain_low_m", "gain_high_m"))
    interval = f"{abs(gain):.4f} m (95 % over scenes: {low:+.4f} to {high:+.4f})"
    if low <= 0 <= high:
        return f"{ours} and {name} differ by {interval}: that may be chance"
    return f"{ours} is {'better' if gain > 0 else 'worse'} than {name} by {interval}"
