"""The leaderboard of a `main`: the scores, the time and the run of each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from atma18 import tracking
from atma18.pipeline import Result

REFERENCES = {
    "fitted motion model": "reference/motion_model_m",
    "constant velocity": "reference/constant_velocity_m",
    "in-fold median": "reference/median_m",
}
_COLUMNS = {
    "OOF MAE m": "oof/mae_m",
    "test-mix MAE m": "oof/mae_m_testmix",
    "3 s ahead m": "oof_horizon/3.0s_m",
    "seconds": "total/seconds",
}


@dataclass(frozen=True)
class Leaderboard:
    """The steps in the order of the pipeline, then simple baselines."""

    table: pd.DataFrame

    @property
    def text(self) -> str:
        """The table for a terminal."""
        return self.table.to_string(index=False, na_rep="", float_format=lambda v: f"{v:.4f}")

    @property
    def markdown(self) -> str:
        """The table for the description of a run."""
        rows = [[_cell(value) for value in row] for row in self.table.itertuples(index=False)]
        lines = [list(self.table.columns), ["---"] * len(self.table.columns), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of_runs(done: Mapping[str, Result]) -> Leaderboard:
    """Read the metrics of each step's run; a reused run shows the time of its own training."""
    rows: list[dict[str, object]] = []
    figures: dict[str, float] = {}
    for step, result in done.items():
        run_id = result.upstream.run_id
        figures = tracking.figures_of(run_id)
        scores = {column: figures[metric] for column, metric in _COLUMNS.items()}
        rows.append({"step": step, **scores, "": "reused" if result.reused else "", "run": run_id})
    references: list[dict[str, object]] = [
        {"step": name, "OOF MAE m": figures[metric], "run": ""} for name, metric in REFERENCES.items()
    ]
    return Leaderboard(pd.DataFrame(rows + references))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return str(value)
