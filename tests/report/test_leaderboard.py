"""The leaderboard shows what each run measured, which were reused, and the references below."""

from types import SimpleNamespace

import pytest

from atma18.pipeline.step import Result
from atma18.report import leaderboard

AHEAD = "oof_horizon/3.0s_m"
FIGURES = {
    "run-a": {"oof/mae_m": 0.25, "oof/mae_m_testmix": 0.3125, AHEAD: 0.5, "total/seconds": 12.5, "nn/other": 9.0},
    "run-b": {"oof/mae_m": 0.1875, "oof/mae_m_testmix": 0.2, AHEAD: 0.375, "total/seconds": 3600.0},
}
GAIN = {"gain_over_motion/mean_m": 0.125, "gain_over_motion/low_m": -0.25, "gain_over_motion/high_m": 0.5}
HEADLINE = (
    "The blend may be no better than the motion model: gain +0.1250 m (95 % -0.2500 to +0.5000). "
    "Its best input is nn1 with 0.2500 m; the blend has 0.1875 m."
)
REFERENCES = {
    "reference/constant_velocity_m": 0.5,
    "reference/median_m": 3.75,
}


def done(**reused):
    """Steps `nn1` and `blend` on `run-a` and `run-b`; the blend reads nn1."""
    runs = {"nn1": SimpleNamespace(run_id="run-a"), "blend": SimpleNamespace(run_id="run-b", inputs={"nn1": "run-a"})}
    return {step: Result(upstream=run, reused=reused.get(step, False)) for step, run in runs.items()}


def measured(monkeypatch, figures=None):
    """Let every run have its figures, the references and the gain; or all of them the same figures."""
    found = {run_id: figures or FIGURES[run_id] for run_id in FIGURES}
    name = "atma18.report.leaderboard.tracking.figures_of"
    monkeypatch.setattr(name, lambda run_id: found[run_id] | REFERENCES | GAIN)


@pytest.fixture
def board(monkeypatch):
    measured(monkeypatch)
    return leaderboard.of_runs(done(blend=True))


def cells(markdown):
    """The cells of a Markdown table, row by row."""
    lines = markdown.split("\n")
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_markdown_has_a_row_for_each_step_in_order_and_then_the_references(board):
    assert cells(board.markdown) == [
        ["step", "OOF MAE m", "test-mix MAE m", "3 s ahead m", "seconds", "", "run"],
        ["---"] * 7,
        ["nn1", "0.2500", "0.3125", "0.5000", "12.5000", "", "run-a"],
        ["blend", "0.1875", "0.2000", "0.3750", "3600.0000", "reused", "run-b"],
        ["constant velocity", "0.5000", "", "", "", "", ""],
        ["in-fold median", "3.7500", "", "", "", "", ""],
    ]


def test_text_begins_with_the_headline_and_says_the_same_as_markdown(board):
    headline, empty, *lines = board.text.split("\n")
    head, *rows = [line.split() for line in lines]

    assert (headline, empty) == (HEADLINE, "")
    assert head == ["step", "OOF", "MAE", "m", "test-mix", "MAE", "m", "3", "s", "ahead", "m", "seconds", "run"]
    assert rows == [
        ["nn1", "0.2500", "0.3125", "0.5000", "12.5000", "run-a"],
        ["blend", "0.1875", "0.2000", "0.3750", "3600.0000", "reused", "run-b"],
        ["constant", "velocity", "0.5000"],
        ["in-fold", "median", "3.7500"],
    ]


def test_the_table_keeps_the_exact_figures(monkeypatch):
    exact = {"oof/mae_m": 0.123456789, "oof/mae_m_testmix": 1 / 3, AHEAD: 2 / 3, "total/seconds": 1e-9}
    measured(monkeypatch, exact)

    table = leaderboard.of_runs(done()).table

    assert table.loc[0, ["OOF MAE m", "test-mix MAE m", "seconds"]].tolist() == [0.123456789, 1 / 3, 1e-9]


@pytest.mark.parametrize(
    ("reused", "marks"),
    [
        pytest.param({}, ["", ""], id="none"),
        pytest.param({"nn1": True}, ["reused", ""], id="one"),
        pytest.param({"nn1": True, "blend": True}, ["reused", "reused"], id="all"),
    ],
)
def test_reused_runs_are_marked(monkeypatch, reused, marks):
    measured(monkeypatch)
    shown = cells(leaderboard.of_runs(done(**reused)).markdown)
    assert [row[5] for row in shown[2:4]] == marks


def test_a_run_without_a_score_is_no_row_of_zeros(monkeypatch):
    measured(monkeypatch, REFERENCES)
    with pytest.raises(KeyError, match="oof/mae_m"):
        leaderboard.of_runs(done())
