"""compare shows in which parts one run is better than others, on the same samples, and which gains may be chance."""

import json

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from atma18.pipeline.compare import _verdict
from atma18.schema import TARGETS
from steps import compare
from tests.store import artifacts, call, first, newest, ran, refused


def oof_m(step):
    return pd.read_parquet(artifacts(first(step)) / "predictions" / "oof.parquet").set_index("ID")[list(TARGETS)]


def table_of(run):
    found = json.loads((artifacts(run) / "comparison.json").read_text())
    return pd.DataFrame(found["data"], columns=found["columns"])


@pytest.fixture
def compared(there, tiny_folder):
    def compare_runs(runs):
        result = call(compare, f"--data={tiny_folder}", f"--runs={runs}")
        ran(result)
        return result.output, newest("compare")

    return compare_runs


def test_gains_are_the_differences_of_the_stored_predictions_errors(compared, tiny):
    output, run = compared(f"blend,{first('nn1').info.run_id},models:/atma18-gbdt/1")

    table = table_of(run)
    truth_m = pd.DataFrame(tiny.targets_m, tiny.train.ids, list(TARGETS))
    error_m = {step: (oof_m(step) - truth_m.loc[oof_m(step).index]).abs() for step in ("blend", "nn1", "gbdt")}
    assert list(dict.fromkeys(table["model"])) == ["blend", "nn1", "gbdt"]
    for step, found in error_m.items():
        rows = table[table["model"] == step].set_index(["by", "part"])
        np.testing.assert_allclose(rows.loc[("", "all"), "mae_m"], found.to_numpy().mean())
        gain_m = (found - error_m["blend"]).iloc[:, 15:].to_numpy().mean()
        np.testing.assert_allclose(
            rows.loc[("horizon", "3.0s"), "gain_m"], gain_m, rtol=0, atol=5e-11
        )  # ten decimals are kept
        whole = f"gain_over_{step}/all_m"
        if step != "blend":
            np.testing.assert_allclose(run.data.metrics[whole], (found - error_m["blend"]).to_numpy().mean())
            assert f"blend and {step} differ by" in output or f"than {step} by" in output
        assert run.data.tags[f"atma18.input.{step}"] == first(step).info.run_id


def test_pictures_are_kept_with_the_run(compared):
    _, run = compared("nn1,nn2")

    names = {entry.path for entry in MlflowClient().list_artifacts(run.info.run_id, "figures")}
    assert names == {"figures/where.png", "figures/scenes_nn2.png"}


def test_the_page_of_the_run_says_what_was_compared_and_who_is_better(compared):
    output, run = compared("blend,gbdt")

    assert f"blend is run {first('blend').info.run_id}, gbdt is run {first('gbdt').info.run_id}\n" in output
    said = run.data.tags["mlflow.note.content"]
    assert all(f"{step} [{first(step).info.run_id[:8]}](#/experiments/" in said for step in ("blend", "gbdt"))
    [verdict] = [line for line in output.splitlines() if line.startswith("blend") and "95 % over scenes" in line]
    assert f"- {verdict}." in said


def test_what_may_be_chance_is_called_so():
    row = pd.Series({"gain_m": 0.01, "gain_low_m": -0.01, "gain_high_m": 0.03})
    better = pd.Series({"gain_m": 0.02, "gain_low_m": 0.01, "gain_high_m": 0.03})

    assert _verdict("blend", "nn1", row).endswith("that may be chance")
    assert (
        _verdict("blend", "nn1", better)
        == "blend is better than nn1 by 0.0200 m (95 % over scenes: +0.0100 to +0.0300)"
    )
    assert _verdict("blend", "nn1", -better).startswith("blend is worse than nn1 by 0.0200 m")


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("blend", "runs: expected two or more, separated by single commas, found 'blend'"),
        ("blend,,nn1", "runs: expected two or more, separated by single commas, found 'blend,,nn1'"),
        ("blend,models:/atma18-blend/1", "runs: expected each run once, found run"),
        ("blend,nowhere", "expected a run"),
    ],
    ids=["one", "an empty name", "twice", "not there"],
)
def test_runs_that_cannot_be_compared_are_refused(there, tiny_folder, runs, message):
    assert message in refused(call(compare, f"--data={tiny_folder}", f"--runs={runs}"))
