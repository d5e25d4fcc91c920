"""The steps with a real MLflow store: the content of runs, registration, reuse and refusals."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from atma18 import tracking
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.data.predictions import Predictions
from atma18.gbdt import boosting
from atma18.schema import TARGETS
from atma18.tracking import identity
from steps import blend, embed, evaluate, gbdt, look, main, nn1, nn2, simulate
from tests.fixtures import enter
from tests.store import SHORT, SMALL, STEPS, all_runs, artifacts, call, first, newest, ran, refused, versions

BLENDED = ("motion", "nn1", "nn2", "gbdt")
"""What the blend of `quick` reads."""


def test_main_leaves_seven_finished_runs_the_steps_under_one_parent(there):
    [parent] = [run for run in all_runs() if run.data.tags.get("atma18.step") == "main"][:1]
    children = [run for run in all_runs() if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]

    assert [run.data.tags["atma18.step"] for run in children] == list(STEPS)
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}


def test_main_prints_every_step_and_the_way_to_the_ui(there):
    headline, empty, *lines = there.stdout.strip().splitlines()

    assert "the motion model" in headline and empty == ""
    for step in STEPS:
        assert any(line.split()[:1] == [step] and line.split()[-1] == first(step).info.run_id for line in lines)
    assert any("constant velocity" in line for line in lines)
    assert "mlflow ui --backend-store-uri sqlite:///" in lines[-1]


def test_the_page_and_the_printed_leaderboard_of_main_begin_with_the_gain_over_the_motion_model(there):
    gain = {name: first("blend").data.metrics[f"gain_over_motion/{name}_m"] for name in ("mean", "low", "high")}
    described = first("main").data.tags["mlflow.note.content"].splitlines()[0]

    told = "gain {mean:+.4f} m (95 % {low:+.4f} to {high:+.4f})".format(**gain)
    assert told in described and told in there.stdout.strip().splitlines()[0]
    assert ("beats the motion model beyond chance" in described) == (gain["low"] > 0)


def test_main_has_the_metrics_by_which_mains_are_compared(there):
    metrics, blended = first("main").data.metrics, first("blend").data.metrics

    gains = [f"gain_over_motion/{name}_m" for name in ("mean", "low", "high")]
    assert set(metrics) == {"oof/mae_m", "oof/mae_m_testmix", *gains, "total/seconds"}
    assert {name: metrics[name] for name in metrics if name != "total/seconds"} == {
        name: blended[name] for name in metrics if name != "total/seconds"
    }
    assert metrics["total/seconds"] == pytest.approx(sum(first(s).data.metrics["total/seconds"] for s in STEPS))


@pytest.mark.parametrize("step", STEPS)
def test_each_step_has_a_version_of_its_run_with_the_alias_candidate(there, step):
    version = MlflowClient().get_model_version_by_alias(f"atma18-{step}", "candidate")
    run = MlflowClient().get_run(version.run_id)

    assert run.data.tags["atma18.step"] == step
    assert version.tags.items() >= {k: v for k, v in run.data.tags.items() if k.startswith("atma18.")}.items()


@pytest.mark.parametrize("step", STEPS)
def test_a_run_carries_what_the_contract_names(there, step, tiny):
    run = first(step)
    tags = {name.removeprefix("atma18.") for name in run.data.tags if name.startswith("atma18.")}
    wanted = {"step", "preset", "data_sha256", "folds_sha256", "config_sha256", "code_sha256", "git", "fingerprint"}

    assert wanted <= tags
    assert run.data.tags["atma18.data_sha256"] == tiny.sha256
    assert run.data.params["cfg.seed"] == "0"
    assert run.data.params["cfg.data"] == str(tiny.folder)
    metrics = {"oof/mae_m", "oof/mae_m_testmix", "oof_axis/x_m", "oof_horizon/3.0s_m", "oof_size/6_or_more_m"}
    assert metrics <= set(run.data.metrics)
    assert {"total/seconds", "total/samples_per_s", "total/peak_memory_gb"} <= set(run.data.metrics)
    assert {i.dataset.name.rsplit("-", 1)[1] for i in run.inputs.dataset_inputs} == {"training", "testing"}


@pytest.mark.parametrize("step", STEPS)
def test_the_manifest_names_every_file_of_the_run_and_comes_last(there, step):
    folder = artifacts(first(step))
    written = json.loads((folder / "manifest.json").read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}

    assert files - {"manifest.json"} == set(written["artifacts"])
    assert {"config.json", "folds.parquet", "predictions/oof.parquet", "predictions/test.parquet"} <= files
    assert {"predictions/test_by_fold.parquet", "figures/mae_by_horizon.png"} <= files
    assert (folder / "manifest.json").stat().st_mtime_ns >= max((folder / name).stat().st_mtime_ns for name in files)
    assert "artifacts/bundle/bundle.json" in written["model"]


@pytest.mark.parametrize("step", STEPS)
def test_oof_scores_are_those_of_the_stored_predictions(there, step, tiny):
    stored = Predictions.read(artifacts(first(step)) / "predictions").aligned(tiny.train.ids, tiny.test.ids, step)

    assert first(step).data.metrics["oof/mae_m"] == pytest.approx(np.abs(stored.oof_m - tiny.targets_m).mean())


@pytest.mark.parametrize("step", ["nn1", "nn2"])
def test_the_image_grid_has_a_picture_after_one_four_and_all_epochs(there, step):
    ran(call({"nn1": nn1, "nn2": nn2}[step], there.data, SMALL, "--num_epochs=5"))
    run = newest(step)

    shown = [path.name.split("+") for path in sorted((artifacts(run) / "images").glob("*.png"))]
    assert sorted((key, int(step)) for key, _, step, *_ in shown) == [("while_training", e) for e in (0, 3, 4)]
    assert run.data.tags["mlflow.loggedImages"] == "True"
    first_seen, *_, last_seen = sorted(
        (artifacts(run) / "images").glob("*.png"), key=lambda path: path.name.split("+")[2]
    )
    assert first_seen.read_bytes() != last_seen.read_bytes()


def test_each_phase_is_a_line_of_what_is_printed(there):
    for step in ("nn1", "nn2", "gbdt"):
        for phase in ("train", "predict", "total"):
            lines = [line for line in there.said.splitlines() if line.startswith(f"{step}: {phase} took ")]
            assert len(lines) == 1
            seconds = first(step).data.metrics[f"{phase}/seconds"]
            assert f" {seconds:.1f} s, " in lines[0]


@pytest.mark.parametrize("step", ["nn1", "nn2"])
def test_a_net_along_the_path_says_that_the_competitions_camera_is_assumed_and_draws_its_grids(there, step):
    folder = there.data.removeprefix("--data=")
    assert f"{step}: {folder} has no camera.json: the competition's camera is assumed" in there.said
    assert (artifacts(first(step)) / "figures" / "path_grids.png").is_file()


def test_an_experiment_says_what_its_runs_are_unless_somebody_said_it_before(there, tiny):
    note, client, experiment_id = "mlflow.note.content", MlflowClient(), first("main").info.experiment_id
    said = client.get_experiment(experiment_id).tags[note]

    assert "`oof/mae_m`" in said
    client.set_experiment_tag(experiment_id, note, "Mine.")
    ran(call(evaluate, f"--predictions={first('nn1').info.run_id}", f"--targets={tiny.folder}"))
    assert client.get_experiment(experiment_id).tags[note] == "Mine."
    client.set_experiment_tag(experiment_id, note, said)


def test_a_blend_stands_beside_each_input_part_by_part(there):
    run, inputs = first("blend"), {name: first(name) for name in BLENDED}
    board = pd.read_parquet(artifacts(run) / "leaderboard.parquet").set_index(["model", "by", "part"])

    assert (artifacts(run) / "figures" / "leaderboard.png").is_file()
    assert set(board.index.get_level_values("model")) == {"this blend", *inputs}
    assert set(board.index.get_level_values("by")) == {"", "axis", "horizon", "size", "speed"}
    for name, other in {"this blend": run, **inputs}.items():
        row = board.loc[name, "", "testmix"]
        assert row["mae_m"] == pytest.approx(other.data.metrics["oof/mae_m_testmix"])
        assert row["run_id"] == other.info.run_id
    for name, other in inputs.items():
        gain_m = other.data.metrics["oof/mae_m"] - run.data.metrics["oof/mae_m"]
        assert board.loc[name, "", "all"]["gain_m"] == pytest.approx(gain_m)
        assert run.data.metrics[f"gain_over_{name}/mean_m"] == pytest.approx(gain_m)


def test_a_blend_proves_its_weights_and_says_which_group_has_too_few_samples(there, tiny):
    run, sizes = first("blend"), tiny.train.scene_sizes

    assert (sizes <= 2).sum() < 50 <= (sizes > 2).sum()
    for group in ("1_to_2", "3_or_more"):
        assert 0 <= run.data.metrics[f"optimality/{group}_gap"] <= 1e-6
        assert run.data.metrics[f"optimality/{group}_bound_m"] > 0
    assert run.data.tags["atma18.few_samples_1_to_2"] == str((sizes <= 2).sum())
    assert "atma18.few_samples_3_or_more" not in run.data.tags
    assert there.said.count("fewer than 50: the weights for such scenes are those of all samples") == 1


def test_a_blend_with_weights_per_axis_proves_each_and_is_served_as_it_scored(there, tiny):
    named = ",".join(first(step).info.run_id for step in ("nn1", "gbdt"))
    ran(call(blend, there.data, f"--inputs={named}", "--per_axis=true"))

    run = newest("blend")
    weights = np.array(json.loads((artifacts(run) / "weights.json").read_text())["weights"])
    assert weights.shape == (2, 3, 2)
    for group in ("1_to_2", "3_or_more"):
        for axis in ("x", "y", "z"):
            assert 0 <= run.data.metrics[f"optimality/{group}_{axis}_gap"] <= 1e-6
            assert 0 <= run.data.metrics[f"optimality/{group}_{axis}_pull"] <= 1
    assert "x (nn1 " in run.data.tags["atma18.weights"]
    assert (artifacts(run) / "figures" / "blend_weights.png").is_file()
    stored = {
        name: pd.read_parquet(artifacts(r) / "predictions" / "test.parquet").set_index("ID")
        for name, r in {"nn1": first("nn1"), "gbdt": first("gbdt"), "blend": run}.items()
    }
    large = tiny.test.ids[tiny.test.scene_sizes > 2]
    for axis, target in enumerate(("x_5", "y_5", "z_5")):
        one_m, other_m = (stored[name].loc[large, target] for name in ("nn1", "gbdt"))
        expected_m = weights[1, axis, 0] * one_m + weights[1, axis, 1] * other_m
        np.testing.assert_allclose(stored["blend"].loc[large, target], expected_m, rtol=0, atol=1e-5)


def test_inputs_are_recorded_by_run_id_and_as_model_inputs(there):
    blended = MlflowClient().get_run(first("blend").info.run_id)

    for name in BLENDED:
        assert blended.data.tags[f"atma18.input.{name}"] == first(name).info.run_id
    assert first("gbdt").data.tags["atma18.input.embed"] == first("embed").info.run_id
    assert len(blended.inputs.model_inputs) == len(BLENDED)


def test_the_submission_has_the_order_of_the_test_file_and_no_id(there, tiny):
    submission = pd.read_csv(there.store / "main.csv")
    stored = pd.read_parquet(artifacts(first("blend")) / "predictions" / "test.parquet").set_index("ID")
    order = pd.read_csv(tiny.folder / "test_features.csv")["ID"]

    assert list(submission.columns) == list(TARGETS)
    np.testing.assert_allclose(submission.to_numpy(), stored.loc[order, list(TARGETS)].to_numpy(), rtol=0, atol=1e-12)


def test_blend_reports_the_cross_fitted_score_and_labels_the_in_sample_one(there):
    metrics = first("blend").data.metrics

    assert metrics["in_sample/mae_m"] <= metrics["oof/mae_m"]
    assert metrics["gain/low_m"] <= metrics["gain/mean_m"] <= metrics["gain/high_m"]


def test_main_again_reuses_every_step_and_says_so(there):
    before = len(all_runs())

    output = ran(call(main, there.data, SMALL, *SHORT, "--out=again.csv"))

    assert [f"{step}: reused run {first(step).info.run_id}" in output for step in STEPS] == [True] * len(STEPS)
    assert len(all_runs()) == before + 1  # the parent
    assert (there.store / "again.csv").read_bytes() == (there.store / "main.csv").read_bytes()


def test_another_parameter_of_nn2_runs_nn2_and_what_stands_on_it(there):
    output = ran(call(main, there.data, SMALL, *SHORT, "--nn2_learning_rate=1e-4", "--out=other.csv"))

    assert [step for step in STEPS if f"{step}: reused" in output] == ["motion", "embed", "nn1"]
    assert [step for step in STEPS if f"{step}: run" in output] == ["nn2", "gbdt", "blend"]
    fresh = {step: newest(step).info.run_id for step in ("nn2", "gbdt", "blend")}
    assert tracking.delivered() == {step: first(step).info.run_id for step in ("motion", "embed", "nn1")} | fresh


def test_a_changed_line_of_code_makes_nothing_reusable(there, monkeypatch):
    monkeypatch.setattr(identity, "_code", lambda: "other code")

    output = ran(call(main, there.data, SMALL, *SHORT, "--out=other.csv"))

    assert "reused" not in output


def test_a_version_that_is_missing_is_made_up_for_on_reuse(there):
    run_id = first("embed").info.run_id
    for version in versions("embed"):
        if version.run_id == run_id:
            MlflowClient().delete_model_version("atma18-embed", version.version)

    ran(call(main, there.data, SMALL, *SHORT, "--out=again.csv"))

    assert [version.run_id for version in versions("embed")].count(run_id) == 1


def test_a_changed_artifact_is_never_reused_nor_read(there):
    run = first("nn1")
    path = artifacts(run) / "predictions" / "oof.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        result = call(blend, there.data, f"--inputs={run.info.run_id}")
        output = ran(call(main, there.data, SMALL, *SHORT, "--out=again.csv"))
    finally:
        path.write_bytes(whole)

    assert result.exit_code == 1
    assert "oof.parquet (changed)" in result.output
    assert f"nn1: reused run {run.info.run_id}" not in output


def test_folds_are_adopted_from_a_run(there):
    run_id = first("nn1").info.run_id

    ran(call(blend, there.data, f"--inputs={run_id}", f"--folds={run_id}", "--fold_seed=7"))

    assert newest("blend").data.tags["atma18.folds_sha256"] == first("nn1").data.tags["atma18.folds_sha256"]


def test_a_step_that_fails_leaves_a_failed_run_and_no_version(there, monkeypatch):
    before = len(versions("gbdt"))

    def broken(*args, **kwargs):
        raise MemoryError("no trees today")

    monkeypatch.setattr(boosting, "fit_targets", broken)
    result = call(gbdt, there.data, "--rounds=3")

    assert isinstance(result.exception, MemoryError)
    assert all_runs()[-1].info.status == "FAILED"
    assert len(versions("gbdt")) == before
    assert not (artifacts(all_runs()[-1]) / "manifest.json").exists()


def test_catboost_is_an_engine_of_gbdt(there):
    ran(call(gbdt, there.data, "--engine=catboost", "--rounds=3"))

    names = json.loads((artifacts(newest("gbdt")) / "manifest.json").read_text())["model"]
    assert sum(name.endswith(".cbm") for name in names) == 3 * len(TARGETS)


def test_a_causal_gbdt_leaves_out_nets_that_see_the_future(there):
    output = ran(call(gbdt, there.data, "--causal=true", "--rounds=3"))

    assert "nn2 left out" in output
    assert "atma18.input.nn2" not in newest("gbdt").data.tags
    columns = pd.read_parquet(artifacts(newest("gbdt")) / "feature_importance.parquet")["feature"]
    assert not [name for name in columns if name.endswith("_next") or name.startswith("nn2/")]


def test_the_two_stages_can_be_run_one_by_one(there):
    candidate = MlflowClient().get_model_version_by_alias("atma18-nn2", "candidate").version
    ran(call(nn2, there.data, SMALL, "--stage=first", "--num_epochs=1"))
    half = newest("nn2")
    by_name = call(blend, there.data, "--inputs=nn2")
    second = ran(call(nn2, there.data, SMALL, "--stage=second", f"--init={half.info.run_id}", "--num_epochs=1"))

    assert half.data.tags["atma18.stage"] == "first"
    assert MlflowClient().get_model_version_by_alias("atma18-nn2", "candidate").version != candidate
    assert newest("nn2").data.tags["atma18.input.init"] == half.info.run_id
    assert "finished" in second
    ran(by_name)
    assert newest("blend").data.tags["atma18.input.nn2"] != half.info.run_id


def test_a_run_and_its_submission_have_the_test_score_of_the_withheld_targets(there, tiny):
    run = first("blend")
    stored = pd.read_parquet(artifacts(run) / "predictions" / "test.parquet").set_index("ID")
    withheld = pd.read_csv(tiny.folder / "test_targets.csv").set_index("ID")
    expected = np.abs(stored.loc[withheld.index, list(TARGETS)] - withheld[list(TARGETS)]).to_numpy().mean()

    for predictions in (run.info.run_id, there.store / "main.csv"):
        output = ran(call(evaluate, f"--predictions={predictions}", f"--targets={tiny.folder}"))

        scored = newest("evaluate")
        assert scored.data.metrics["test/mae_m"] == pytest.approx(expected)
        assert f"{expected:.4f}" in output
        assert f"evaluate: {predictions} on {tiny.folder}" in output
        assert "test_horizon/3.0s_m" in scored.data.metrics
    by_file, by_run = [r for r in reversed(all_runs()) if r.data.tags.get("atma18.step") == "evaluate"][:2]
    assert by_run.data.tags["atma18.input.blend"] == run.info.run_id
    assert "atma18.input.blend" not in by_file.data.tags


def test_a_table_of_predictions_that_is_not_there_is_named(there, tiny):
    said = refused(call(evaluate, "--predictions=none.parquet", f"--targets={tiny.folder}"))

    assert "none.parquet: expected a table of predictions, found no file: check the path" in said


def test_simulated_drives_go_through_the_steps(tmp_path, drawn, small_backbone, monkeypatch):
    enter(tmp_path, monkeypatch)

    ran(call(simulate, "--out=mine", "--scenes=6", "--test_scenes=2", "--workers=2"))
    output = ran(call(embed, "--data=mine", SMALL, "--folds=2"))

    assert "finished" in output
    assert "5 samples are drawn" in ran(call(look, "--data=mine", "--samples=5", "--out=new/mine.png"))
    with Image.open("new/mine.png") as sheet:
        assert min(sheet.size) > 500
    assert "mine/nowhere" in refused(call(look, "--data=mine/nowhere"))
    assert "expected nothing there" in refused(call(simulate, "--out=mine", "--scenes=6", "--test_scenes=2"))


def written_otherwise(folder, copy):
    """Copy a dataset folder in another form: rows and columns shuffled, PNG files packed anew, all files touched."""
    shutil.copytree(folder, copy)
    for seed, split in enumerate(("train", "test")):
        table = pd.read_csv(copy / f"{split}_features.csv", dtype=str, keep_default_na=False)
        shuffled = table.sample(frac=1, random_state=seed).sample(frac=1, axis=1, random_state=seed)
        assert shuffled["ID"].tolist() != table["ID"].tolist()
        shuffled.to_csv(copy / f"{split}_features.csv", index=False)
    for png in copy.rglob("*.png"):
        with Image.open(png) as image:
            image.convert("RGBA").save(png, compress_level=1)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    return copy


def test_the_form_of_the_data_changes_no_digest_and_no_prediction(there, tiny, tmp_path):
    copy = written_otherwise(tiny.folder, tmp_path / "otherwise")

    ran(call(main, f"--data={copy}", SMALL, *SHORT, "--reuse=false", "--out=otherwise.csv"))

    for step in STEPS:
        for tag in ("atma18.data_sha256", "atma18.folds_sha256"):
            assert newest(step).data.tags[tag] == first(step).data.tags[tag]
        one, other = (Predictions.read(artifacts(run) / "predictions") for run in (first(step), newest(step)))
        other = other.aligned(one.train_ids, one.test_ids, step)
        np.testing.assert_array_equal(other.oof_m, one.oof_m, err_msg=step)
        np.testing.assert_array_equal(other.test_by_fold_m, one.test_by_fold_m, err_msg=step)
    ids = [pd.read_csv(folder / "test_features.csv")["ID"] for folder in (tiny.folder, copy)]
    before, after = (pd.read_csv(there.store / name) for name in ("main.csv", "otherwise.csv"))
    pd.testing.assert_frame_equal(after.set_axis(ids[1]).loc[ids[0]], before.set_axis(ids[0]))


def test_no_model_holds_a_pickle(there):
    files = [path for path in (there.store / "mlruns").rglob("*") if path.is_file()]

    assert files
    assert [path.name for path in files if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib")] == []


def test_what_an_upstream_stores_is_linked_not_copied(there):
    def objects(step):
        model = Path(MlflowClient().get_logged_model(first(step).outputs.model_outputs[0].model_id).artifact_location)
        return {path.name: path.stat().st_ino for path in (model / "artifacts" / "bundle" / "objects").iterdir()}

    nets, blended = objects("nn1"), objects("blend")

    assert nets.items() <= blended.items()


def test_the_dataset_folder_is_never_written_into(there, tiny, tmp_path):
    Dataset.open(str(tiny.folder), Cache.open(tmp_path / "cache"))
    names = {path.name for path in tiny.folder.iterdir()}

    assert names == {"train_features.csv", "test_features.csv", "test_targets.csv", "images", "traffic_lights"}


def test_a_step_of_its_own_is_registered_too(tiny_folder, small_backbone, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)

    ran(call(embed, f"--data={tiny_folder}", SMALL, "--svd_components=2"))

    assert [run.data.params["cfg.svd_components"] for run in all_runs()] == ["2"]
    assert len(versions("embed")) == 1
