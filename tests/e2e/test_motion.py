"""A step that is a folder and a line in `STEPS` is tracked, registered, served and blended like the others."""

import json

import numpy as np
import pandas as pd
import pytest

from atma18.schema import TARGETS
from steps import blend, embed, motion, predict
from tests.store import FAST, OF_METRES, artifacts, call, newest, ran, version_of

PARTS = ("", "_testmix")


@pytest.fixture(scope="module")
def run(finished, module_patch):
    ran(call(motion, finished.data))
    return newest("motion")


def test_its_error_is_that_of_the_reference_of_every_run(there, run):
    figures = run.data.metrics

    assert figures["oof/mae_m"] == pytest.approx(figures["reference/motion_model_m"], abs=1e-12)


def test_its_version_answers_what_was_stored(there, run, tmp_path):
    uri = f"models:/atma18-motion/{version_of('motion', run)}"

    ran(call(predict, f"--model={uri}", there.data, f"--out={tmp_path / 'out'}"))

    found, stored = (
        pd.read_parquet(path).set_index("ID")[list(TARGETS)]
        for path in (tmp_path / "out" / "predictions.parquet", artifacts(run) / "predictions" / "test.parquet")
    )
    pd.testing.assert_frame_equal(found, stored.loc[found.index])


def test_it_is_an_input_of_a_blend_like_any_other(there, run, tmp_path):
    ran(call(blend, there.data, "--inputs=motion,nn1", f"--out={tmp_path / 'submission.csv'}"))

    weights = json.loads((artifacts(newest("blend")) / "weights.json").read_text())
    assert weights["inputs"] == ["motion", "nn1"]
    np.testing.assert_allclose(np.sum(weights["weights"], axis=1), 1.0)


def test_a_blend_that_does_not_read_it_is_compared_with_it_too(there, run):
    ran(call(blend, there.data, "--inputs=embed,nn1"))

    blended = newest("blend")
    gain_m = {part: run.data.metrics[f"oof/mae_m{part}"] - blended.data.metrics[f"oof/mae_m{part}"] for part in PARTS}
    low_m, mean_m, high_m = (blended.data.metrics[f"gain_over_motion/{name}_m"] for name in ("low", "mean", "high"))
    assert mean_m == pytest.approx(gain_m[""])
    assert blended.data.metrics["gain_over_motion/testmix_mean_m"] == pytest.approx(gain_m["_testmix"])
    assert low_m < mean_m < high_m
    board = pd.read_parquet(artifacts(blended) / "leaderboard.parquet").set_index("model")
    assert set(board.index) == {"this blend", "motion", "embed", "nn1"}
    assert board.loc["motion", "run_id"].isna().all()


def test_what_is_no_input_is_not_the_best_input(there, run):
    """embed errs by metres, the motion model by less."""
    ran(call(embed, there.data, FAST, *OF_METRES))
    ran(call(blend, there.data, "--inputs=embed"))

    tags, metrics = newest("blend").data.tags, newest("blend").data.metrics
    assert tags["atma18.best_input"] == "embed"
    assert metrics["gain/mean_m"] == 0.0
    assert metrics["gain_over_motion/high_m"] < 0
    assert f"Gain over the motion model: {metrics['gain_over_motion/mean_m']:+.4f} m" in tags["mlflow.note.content"]


def test_its_manifest_records_that_it_is_causal(there, run):
    assert json.loads((artifacts(run) / "manifest.json").read_text())["causal"] is True


def test_the_manifest_of_a_net_over_a_scene_records_that_it_is_not(there):
    assert json.loads((artifacts(newest("nn2")) / "manifest.json").read_text())["causal"] is False
