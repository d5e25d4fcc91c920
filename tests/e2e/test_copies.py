"""What MLflow itself does to models and experiments: copies are the same model, a deleted experiment is one cause."""

from types import SimpleNamespace

import mlflow
import pytest
from mlflow import MlflowClient

from steps import blend, doctor, embed, lineage, predict
from tests.fixtures import enter, forget_caller
from tests.store import SMALL, call, first, newest, ran, refused, version_of

BLEND = "atma18-blend"
WHOLE = "whole: 2 runs, 2 versions, 2 aliases"


@pytest.fixture(scope="module")
def made(tiny_folder, small_backbone, tmp_path_factory):
    """A store with a run of embed and one of blend."""
    store = tmp_path_factory.mktemp("copied")
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(store, patch)
        data = f"--data={tiny_folder}"
        ran(call(embed, data, SMALL))
        ran(call(blend, data, "--inputs=embed"))
        run = first("blend")
        model = run.outputs.model_outputs[0].model_id
    return SimpleNamespace(store=store, data=data, run_id=run.info.run_id, model=model)


@pytest.fixture
def store(made, no_caller, monkeypatch):
    """Inside that store; the registered models that a test adds are deleted."""
    enter(made.store, monkeypatch)
    before = {model.name for model in MlflowClient().search_registered_models()}
    yield made
    for model in MlflowClient().search_registered_models():
        if model.name not in before:
            MlflowClient().delete_registered_model(model.name)


def copied(name):
    """MLflow's way to hand a model to another name."""
    return MlflowClient().copy_model_version(f"models:/{BLEND}@candidate", name)


def copied_twice(name):
    copied("staging")
    return MlflowClient().copy_model_version("models:/staging/1", name)


def registered_again(name):
    """It has no run by MLflow's record."""
    return mlflow.register_model(f"models:/{BLEND}/{version_of('blend', newest('blend'))}", name)


def registered_from_its_run(name):
    return mlflow.register_model(f"runs:/{newest('blend').info.run_id}/model", name)


def registered_by_its_place(name):
    model = MlflowClient().get_logged_model(newest("blend").outputs.model_outputs[0].model_id)
    return mlflow.register_model(model.artifact_location, name)


MAKERS = [copied, copied_twice, registered_again, registered_from_its_run, registered_by_its_place]


@pytest.mark.parametrize("make", MAKERS)
def test_what_mlflow_makes_of_a_model_is_that_model(store, make):
    version = make("prod-blend")
    uri = f"models:/prod-blend/{version.version}"

    said = ran(call(lineage, f"--model={uri}"))
    assert f"blend: run {store.run_id}, FINISHED" in said
    assert "BROKEN" not in said
    said = ran(call(predict, f"--model={uri}", store.data, f"--out={store.store / make.__name__}"))
    assert f"by blend (run {store.run_id})" in said
    ours = ran(call(predict, f"--model=models:/{BLEND}@candidate", store.data, f"--out={store.store / 'ours'}"))
    assert "submission.csv" in ours
    csv = [(store.store / name / "submission.csv").read_bytes() for name in (make.__name__, "ours")]
    assert csv[0] == csv[1]
    assert WHOLE in ran(call(doctor))


def test_a_copy_outlives_the_version_that_it_was_made_from(store):
    copied("prod-blend")
    number = version_of("blend", newest("blend"))
    MlflowClient().delete_model_version(BLEND, number)
    try:
        assert "BROKEN" not in ran(call(lineage, "--model=models:/prod-blend/1"))
    finally:
        ran(call(doctor, "--repair=true"))


def swapped(name):
    """A version that names this run and serves another model."""
    MlflowClient().create_registered_model(name)
    other = newest("embed").outputs.model_outputs[0].model_id
    return MlflowClient().create_model_version(name, f"models:/{other}", newest("blend").info.run_id)


def test_a_version_of_another_name_that_serves_something_else_is_broken_and_decides_nothing_about_ours(store):
    swapped("prod-blend")

    said = ran(call(lineage, "--model=models:/prod-blend/1"))
    assert f"BROKEN: models:/prod-blend/1: expected the model of its run {store.run_id}" in said
    assert "delete" not in said
    assert "BROKEN" not in ran(call(lineage, f"--model=models:/{BLEND}@candidate"))
    assert WHOLE in ran(call(doctor))


def test_a_version_of_our_own_name_that_the_ui_has_registered_is_completed(store):
    number = version_of("blend", newest("blend"))
    complete = MlflowClient().get_model_version(BLEND, number)
    MlflowClient().delete_model_version(BLEND, number)
    made = registered_from_its_run(BLEND)

    assert f"models:/{BLEND}/{made.version}: half registered" in refused(call(doctor))
    ran(call(doctor, "--repair=true"))

    mended = MlflowClient().get_model_version(BLEND, made.version)
    assert mended.tags == complete.tags
    assert mended.description == complete.description
    assert int(MlflowClient().get_registered_model(BLEND).aliases["candidate"]) == int(made.version)
    assert WHOLE in ran(call(doctor))


@pytest.fixture
def deleted(store):
    """The experiment is deleted, as with `mlflow experiments delete`."""
    number = newest("blend").info.experiment_id
    MlflowClient().delete_experiment(number)
    yield number
    if MlflowClient().get_experiment(number).lifecycle_stage == "deleted":
        MlflowClient().restore_experiment(number)


def test_a_deleted_experiment_is_one_finding_with_the_command_that_mends_it(store, deleted):
    said = refused(call(doctor))

    assert "found 1 broken" in said
    assert "experiment atma18: expected the experiment of 2 registered versions, found it deleted" in said
    assert f"by hand: mlflow experiments restore --experiment-id {deleted}\n" in said
    MlflowClient().restore_experiment(deleted)
    assert WHOLE in ran(call(doctor))


@pytest.mark.parametrize(
    ("step", "words"),
    [
        pytest.param(embed, [SMALL], id="a step"),
        pytest.param(predict, [f"--model=models:/{BLEND}@candidate"], id="predict"),
    ],
)
def test_a_command_that_needs_a_deleted_experiment_says_so_in_one_line(store, deleted, step, words):
    said = refused(call(step, store.data, *words))

    assert "experiment atma18: expected one that takes runs, found it deleted" in said
    assert f"mlflow experiments restore --experiment-id {deleted}" in said
    assert "answer" not in said


def test_the_lineage_of_a_run_of_a_deleted_experiment_names_the_experiment(store, deleted):
    said = ran(call(lineage, f"--model=models:/{BLEND}@candidate"))

    assert "found a deleted one of the deleted experiment atma18" in said
    assert f"mlflow experiments restore --experiment-id {deleted}" in said


def test_a_deleted_experiment_that_is_named_is_named_back(store, monkeypatch):
    number = MlflowClient().create_experiment("mine")
    MlflowClient().delete_experiment(number)
    for name, value in (("MLFLOW_EXPERIMENT_NAME", "mine"), ("MLFLOW_EXPERIMENT_ID", number)):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert "experiment mine: expected one that takes runs, found it deleted" in refused(
                call(embed, store.data, SMALL)
            )
    assert WHOLE in ran(call(doctor))
