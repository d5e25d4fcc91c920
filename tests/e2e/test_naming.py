"""An upstream can be named in four ways, in every step and in any mixture; its run ID is used and recorded."""

import pytest
from mlflow import MlflowClient

from steps import blend, embed, gbdt, nn1, nn2
from tests.store import SMALL, STEPS, all_runs, call, first, newest, ran, refused, version_of

WAYS = ("run", "version", "alias", "step")


def name_of(step, way):
    """Name the run of a step that the first `main` made."""
    run = first(step)
    if way == "run":
        return run.info.run_id
    if way == "step":
        return step
    number = version_of(step, run)
    if way == "version":
        return f"models:/atma18-{step}/{number}"
    MlflowClient().set_registered_model_alias(f"atma18-{step}", "of-main", number)
    return f"models:/atma18-{step}@of-main"


def run_id_of(step, way):
    """The run that this name must lead to: a step's own name means the newest run with the same data and folds."""
    if way != "step":
        return first(step).info.run_id
    same = {tag: first(step).data.tags[tag] for tag in ("atma18.step", "atma18.data_sha256", "atma18.folds_sha256")}
    fitting = [run for run in all_runs() if same.items() <= run.data.tags.items() and run.info.status == "FINISHED"]
    return [run for run in fitting if run.data.tags.get("atma18.stage") != "first"][-1].info.run_id


def inputs_of(run):
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("atma18.input.")}
    return {name.removeprefix("atma18.input."): value for name, value in tags.items()}


@pytest.mark.parametrize("turn", range(4))
def test_every_input_of_gbdt_can_be_named_in_every_way(there, turn):
    ways = {step: WAYS[(turn + i) % 4] for i, step in enumerate(("embed", "nn1", "nn2"))}
    expected = {step: run_id_of(step, way) for step, way in ways.items()}

    ran(call(gbdt, there.data, "--rounds=1", *[f"--{step}={name_of(step, way)}" for step, way in ways.items()]))

    assert inputs_of(newest("gbdt")) == expected


@pytest.mark.parametrize("turn", range(4))
def test_a_blend_takes_any_number_of_inputs_named_in_every_way_at_once(there, turn):
    ways = {step: WAYS[(turn + i) % 4] for i, step in enumerate(("embed", "nn1", "nn2", "gbdt"))}
    expected = {step: run_id_of(step, way) for step, way in ways.items()}

    ran(call(blend, there.data, f"--inputs={', '.join(name_of(step, way) for step, way in ways.items())}"))

    assert inputs_of(newest("blend")) == expected


@pytest.fixture(scope="module")
def half_trained(finished, module_patch):
    """A first stage of nn1, with an alias that a person gave it."""
    ran(call(nn1, finished.data, SMALL, "--stage=first", "--num_epochs=1"))
    run = newest("nn1")
    MlflowClient().set_registered_model_alias("atma18-nn1", "half", version_of("nn1", run))
    return run


@pytest.mark.parametrize("way", WAYS)
def test_init_can_be_named_in_every_way(there, half_trained, way):
    names = {
        "run": half_trained.info.run_id,
        "version": f"models:/atma18-nn1/{version_of('nn1', half_trained)}",
        "alias": "models:/atma18-nn1@half",
        "step": "nn1",
    }

    ran(call(nn1, there.data, SMALL, "--stage=second", f"--init={names[way]}", "--num_epochs=1"))

    assert inputs_of(newest("nn1")) == {"init": half_trained.info.run_id}


def test_a_first_stage_of_another_net_is_no_init(there, half_trained):
    message = refused(call(nn2, there.data, SMALL, "--stage=second", f"--init={half_trained.info.run_id}"))

    assert "expected a run of nn2, found one of nn1: name another" in message


def test_nn2_goes_on_with_the_encoder_of_the_nn1_that_init_names(there):
    expected = run_id_of("nn1", "step")

    ran(call(nn2, there.data, SMALL, "--stage=head", "--init=nn1", "--num_epochs=1"))

    assert inputs_of(newest("nn2")) == {"init": expected}


@pytest.mark.parametrize(
    ("step", "words", "said"),
    [
        pytest.param(nn2, ["--stage=head"], "expected init with stage=head and only then", id="no nn1"),
        pytest.param(nn2, ["--stage=head", "--init=gbdt"], "expected a run of nn1, found one of gbdt", id="no net"),
        pytest.param(nn2, ["--stage=head", "--init=nn1", "--context=true"], "init with context=True", id="another"),
        pytest.param(nn1, ["--stage=head", "--init=nn1"], "expected stage=head for nn2 alone", id="nn1 itself"),
    ],
)
def test_only_an_nn1_that_reads_the_same_lends_its_encoder(there, step, words, said):
    assert said in refused(call(step, there.data, SMALL, *words, "--num_epochs=1"))


def test_two_versions_of_one_model_are_two_inputs(there):
    ran(call(gbdt, there.data, "--rounds=2"))
    old, new = (f"models:/atma18-gbdt/{version_of('gbdt', run)}" for run in (first("gbdt"), newest("gbdt")))

    ran(call(blend, there.data, f"--inputs={new},{old}"))

    expected = {"gbdt": first("gbdt").info.run_id, "gbdt-2": newest("gbdt").info.run_id}
    assert inputs_of(newest("blend")) == expected


@pytest.mark.parametrize(
    ("preset", "inputs"),
    [("quick", {"motion", "nn1", "nn2", "gbdt"}), ("seed-small", {"nn1", "nn2", "gbdt"})],
    ids=["quick", "seed-small"],
)
def test_a_blend_that_is_told_no_inputs_takes_those_of_its_preset(there, preset, inputs):
    ran(call(blend, there.data, f"--preset={preset}"))

    assert set(inputs_of(newest("blend"))) == inputs


def test_the_order_in_which_inputs_are_named_makes_no_difference(there):
    fingerprints = set()
    for inputs in ("nn1,gbdt,embed", "gbdt,embed,nn1"):
        ran(call(blend, there.data, f"--inputs={inputs}"))
        fingerprints.add(newest("blend").data.tags["atma18.fingerprint"])

    assert len(fingerprints) == 1


@pytest.mark.parametrize("other", ["version", "alias", "run"])
def test_one_run_under_two_names_is_refused(there, other):
    run_id, again = first("nn2").info.run_id, name_of("nn2", other)

    message = refused(call(blend, there.data, f"--inputs=nn1,{run_id},{again}"))

    assert f"expected each run once, found run {run_id} as {run_id}, {again}: name it once" in message


def test_an_upstream_is_resolved_before_any_work_and_then_used_by_its_run_id(there, monkeypatch):
    """Somebody moves the alias while the step works: what was resolved stays."""
    from atma18 import blending

    client, run_id = MlflowClient(), first("nn1").info.run_id
    client.set_registered_model_alias("atma18-nn1", "moving", version_of("nn1", first("nn1")))
    fit = blending.fit

    def move_and_fit(*args, **kwargs):
        client.delete_registered_model_alias("atma18-nn1", "moving")
        return fit(*args, **kwargs)

    monkeypatch.setattr(blending, "fit", move_and_fit)
    ran(call(blend, there.data, "--inputs=models:/atma18-nn1@moving,nn2"))

    assert inputs_of(newest("blend"))["nn1"] == run_id


def test_a_name_that_leads_nowhere_ends_the_step_before_any_work(there):
    before = len(all_runs())

    refused(call(gbdt, there.data, "--nn2=models:/atma18-nn2@nobody"))

    [run] = all_runs()[before:]
    assert "atma18.data_sha256" not in run.data.tags  # it had not even said what it would do


def test_a_step_of_other_folds_than_its_inputs_is_told_how_to_take_theirs(there):
    message = refused(call(blend, there.data, "--fold_seed=7", "--inputs=nn1"))

    version = version_of("nn1", newest("nn1"))
    assert f"version {version} has these data and other folds than these" in message
    assert f"add folds=models:/atma18-nn1/{version}" in message
    ran(call(blend, there.data, f"--folds=models:/atma18-nn1/{version}", "--inputs=nn1"))


def test_versions_of_another_stage_are_not_taken_for_those_of_other_folds(there):
    message = refused(call(nn2, there.data, "--stage=second", "--init=nn2"))  # there are whole ones of the same folds

    assert "expected a version of atma18-nn2 with these data and folds" in message
    assert "other folds" not in message


def test_a_blend_says_its_error_and_its_gain_over_the_motion_model(there):
    said = ran(call(blend, there.data, "--inputs=motion,nn1"))

    figures = newest("blend").data.metrics
    gain = f"{figures['gain_over_motion/mean_m']:+.4f} m"
    assert f"blend: {figures['oof/mae_m']:.4f} m out of fold, gain over the motion model {gain}" in said


def test_a_submission_that_replaces_another_one_says_so(there, tmp_path):
    out = tmp_path / "submission.csv"
    first_said = ran(call(blend, there.data, "--inputs=nn1", f"--out={out}"))
    again_said = ran(call(blend, there.data, "--inputs=nn1", f"--out={out}"))
    other_said = ran(call(blend, there.data, "--inputs=nn2", f"--out={out}"))

    place = f"the submission of run {newest('blend').info.run_id} is {out} in place of another file"
    assert place in other_said
    assert "in place of" not in first_said + again_said


def test_models_and_versions_say_what_they_are_in_the_ui(there):
    for step in STEPS:
        model, run = MlflowClient().get_registered_model(f"atma18-{step}"), first(step)
        assert "x forward, y left, z vertical" in model.description
        version = MlflowClient().get_model_version(f"atma18-{step}", version_of(step, run))
        assert version.description.startswith(f"Run {run.info.run_id}. OOF MAE {run.data.metrics['oof/mae_m']:.4f} m")
        inputs = {tag: i for tag, i in run.data.tags.items() if tag.startswith("atma18.input.")}
        assert version.description.count("runs/") == len(inputs)
        assert ("atma18.input.gbdt" in inputs) == ("(which read embed, nn1, nn2)" in version.description)
        assert (
            f"({run.data.tags['atma18.data_sha256'][:12]}…); git: {run.data.tags['atma18.git']}" in version.description
        )
        assert run.data.tags["mlflow.note.content"] in version.description
        assert all(f"{tag.rsplit('.', 1)[1]} [{i[:8]}](" in version.description for tag, i in inputs.items())


def test_a_persons_own_words_on_a_model_stay(there, tiny_folder):
    client, name = MlflowClient(), "atma18-embed"
    before = client.get_registered_model(name).description
    client.update_registered_model(name, "our words")

    ran(call(embed, f"--data={tiny_folder}", SMALL, "--seed=77"))

    assert client.get_registered_model(name).description == "our words"
    client.update_registered_model(name, before)
