"""The leaderboard of a `main`: its headline, and the scores, the time and the run of each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from atma18 import tracking
from atma18.pipeline.step import Result
from atma18.report.headline import headline

REFERENCES = {
    "constant velocity": "reference/constant_velocity_m",
    "in-fold median": "reference/median_m",
}
_MAE = "oof/mae_m"
_COLUMNS = {
    "OOF MAE m": _MAE,
    "test-mix MAE m": "oof/mae_m_testmix",
    "3 s ahead m": "oof_horizon/3.0s_m",
    "seconds": "total/seconds",
}


@dataclass(frozen=True)
class Leaderboard:
    """The headline, then the steps in the order of the pipeline, then simple baselines."""

    headline: str
    """Whether the blend beats the motion model."""
    table: pd.DataFrame

    @property
    def text(self) -> str:
        """The headline and the table for a terminal."""
        return f"{self.headline}\n\n{self.table.to_string(index=False, na_rep='', float_format=_number)}"

    @property
    def html(self) -> str:
        """The table for `report.html`."""
        written: str = self.table.to_html(index=False, na_rep="", float_format=_number, border=0, table_id="steps")
        return written

    @property
    def markdown(self) -> str:
        """The table for the description of a run."""
        rows = [[_cell(value) for value in row] for row in self.table.itertuples(index=False)]
        lines = [list(self.table.columns), ["---"] * len(self.table.columns), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of_runs(done: Mapping[str, Result]) -> Leaderboard:
    """Read the metrics of each step's run; a reused run shows the time of its own training."""
    figures = {step: tracking.figures_of(result.upstream.run_id) for step, result in done.items()}
    rows: list[dict[str, object]] = []
    for step, result in done.items():
        scores = {column: figures[step][metric] for column, metric in _COLUMNS.items()}
        rows.append({"step": step, **scores, "": "reused" if result.reused else "", "run": result.upstream.run_id})
    blend = figures["blend"]
    references: list[dict[str, object]] = [
        {"step": name, "OOF MAE m": blend[metric], "run": ""} for name, metric in REFERENCES.items()
    ]
    inputs_m = {name: figures[name][_MAE] for name in done["blend"].upstream.inputs}
    return Leaderboard(headline(blend, inputs_m), pd.DataFrame(rows + references))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else _number(value)
    return str(value)


def _number(value: float) -> str:
    return f"{value:.4f}"
