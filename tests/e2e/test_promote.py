"""Only a computed verdict moves the champion, and every move and refusal is recorded."""

import json
import re
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from atma18 import checks, tracking
from atma18.checks import Suspicion
from atma18.pipeline import blend as blend_step
from atma18.tracking import runs
from steps import blend, embed, motion, promote
from tests.fixtures import COMMIT, enter
from tests.promoting import BLEND, holder, records, verdicts, version
from tests.store import FAST, OF_METRES, all_runs, artifacts, call, newest, ran, refused, version_of


@pytest.fixture(scope="module")
def finished(finished_lifted):
    """What other processes than this one can load, with blends that beat the motion model."""
    return finished_lifted


@pytest.fixture(scope="module")
def blends(finished, module_patch):
    """A store of committed code with three blends: of images alone, of all, and of all again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "git_state", lambda: COMMIT)
        data = finished.data
        good = int(version_of("blend", newest("blend")))
        ran(call(blend, data, "--inputs=embed"))
        poor = int(version_of("blend", newest("blend")))
        ran(call(blend, data))
        again = int(version_of("blend", newest("blend")))
        motion_m = newest("motion").data.metrics["oof/mae_m_testmix"]
        yield SimpleNamespace(store=finished.store, data=data, poor=poor, good=good, again=again, motion_m=motion_m)


@pytest.fixture(scope="module")
def rehearsed():
    """Asks in a process of its own, which takes seconds, but once for equal servables and equal stored predictions."""
    answers, ask = {}, tracking.check_serving

    def check_serving(uri, upstream, *given):
        served = frozenset(path.name for path in (upstream.bundle / "objects").iterdir())
        key = served, upstream.stored_predictions.test_m.tobytes()
        if key not in answers:
            answers[key] = ask(uri, upstream, *given)
        return answers[key]

    return check_serving


@pytest.fixture
def store(blends, rehearsed, no_caller, monkeypatch):
    """Inside that store, without a champion."""
    enter(blends.store, monkeypatch)
    monkeypatch.setattr(tracking, "check_serving", rehearsed)
    monkeypatch.setattr(runs, "git_state", lambda: COMMIT)
    yield blends
    for alias in ("champion", "previous"):
        MlflowClient().delete_registered_model_alias(BLEND, alias)
    for run in records():
        MlflowClient().delete_run(run.info.run_id)


def test_the_first_promotes_a_better_one_too_a_tie_and_a_worse_one_do_not_and_rollback_restores(store):
    said = ran(call(promote, version(store.poor), "--note=to begin with"))
    assert "there was none to beat" in said
    assert (holder("champion"), holder("previous")) == (store.poor, None)

    ran(call(promote, version(store.good)))
    assert (holder("champion"), holder("previous")) == (store.good, store.poor)

    said = refused(call(promote, version(store.again)))
    assert "not promoted: gain: test-mix MAE 0.00000 m lower than that of the champion" in said

    said = refused(call(promote, version(store.poor)))
    assert "m higher than that of the champion" in said
    assert (holder("champion"), holder("previous")) == (store.good, store.poor)

    ran(call(promote, "--rollback=true"))
    assert (holder("champion"), holder("previous")) == (store.poor, store.good)

    poor, good, again = str(store.poor), str(store.good), str(store.again)
    assert verdicts() == [
        ("promoted", "none", poor),
        ("promoted", poor, good),
        ("refused", good, again),
        ("refused", good, poor),
        ("rolled back", good, poor),
    ]
    statuses = [run.info.status for run in records()]
    assert statuses == ["FINISHED", "FINISHED", "FAILED", "FAILED", "FINISHED"]


def test_a_verdict_says_what_looks_wrong_about_the_drives(store, monkeypatch):
    """It decides nothing, for nothing of it is certain."""
    slow = Suspicion("unit of vEgo", "vEgo looks like km/h", "divide it by 3.6")
    monkeypatch.setattr(checks, "check_once", lambda dataset, cache: [slow])

    said = ran(call(promote, version(store.good)))

    assert f"they look wrong: {slow}" in said
    assert holder("champion") == store.good


def test_a_copy_under_another_name_does_not_block_the_promotion(store):
    MlflowClient().copy_model_version(f"models:/{BLEND}/{store.good}", "prod-blend")
    try:
        ran(call(promote, version(store.good)))
        assert holder("champion") == store.good
        copy = MlflowClient().get_model_version("prod-blend", "1")
        assert copy.source == f"models:/{BLEND}/{store.good}"
    finally:
        MlflowClient().delete_registered_model("prod-blend")


def test_a_record_says_who_why_and_by_which_figures_and_can_be_listed(store):
    ran(call(promote, version(store.poor), "--note=to begin with"))
    ran(call(promote, version(store.good)))

    first, second = records()
    assert first.data.tags["atma18.note"] == "to begin with"
    assert "@" in first.data.tags["atma18.by"]
    said = second.data.tags["mlflow.note.content"]
    assert f"[{BLEND} {store.good}](#/models/{BLEND}/versions/{store.good}): promoted." in said
    assert f"Before: version {store.poor}." in said
    assert second.data.metrics["gain/low_m"] > 0
    poor, good = (
        MlflowClient().get_run(MlflowClient().get_model_version(BLEND, str(v)).run_id) for v in (store.poor, store.good)
    )
    gain_m = poor.data.metrics["oof/mae_m_testmix"] - good.data.metrics["oof/mae_m_testmix"]
    assert second.data.metrics["gain/mean_m"] == pytest.approx(gain_m, rel=1e-9)
    expected_m = [store.motion_m - run.data.metrics["oof/mae_m_testmix"] for run in (poor, good)]
    assert [record.data.metrics["gain_over_motion/mean_m"] for record in records()] == pytest.approx(expected_m)
    checks = {check["name"]: check["passed"] for check in json.loads((artifacts(second) / "verdict.json").read_text())}
    assert checks == {
        "lineage": True,
        "code": True,
        "drives": True,
        "servable": True,
        "motion": True,
        "setting": True,
        "gain": True,
    }

    listed = ran(call(promote, "--history=true"))
    records_of = re.split(r"^(?=\d{4}-)", listed, flags=re.MULTILINE)[1:]
    assert [re.split("[ :,]+", record)[4] for record in records_of] == ["promoted", "promoted"]
    assert f"promoted: version none -> {store.poor}, by " in records_of[0]
    assert "    note  to begin with\n" in records_of[0]
    assert f"    gain  over the champion {gain_m:+.4f} m, over the motion model " in records_of[1]
    assert f"    run   {second.info.run_id}" in records_of[1]


def test_a_note_of_any_length_is_listed_readably(store):
    note = "seen on the track, rain\n" + "and then the wet stretch before the bridge " * 40
    ran(call(promote, version(store.poor), f"--note={note}"))

    listed = ran(call(promote, "--history=true"))

    assert max(map(len, listed.splitlines())) <= 110
    assert "    note  seen on the track, rain\n" in listed
    assert " ".join(listed.split()).count("the wet stretch before the bridge") == 40


def test_the_page_of_main_says_where_its_blend_stands(store):
    def said():
        return newest("main").data.tags["mlflow.note.content"]

    before = said()
    assert before.count("Standing: ") == 1
    ran(call(promote, version(store.poor)))
    assert said() == before

    ran(call(promote, version(store.good)))
    assert re.search(r"Standing: \*\*the champion\*\* since \d{4}-\d\d-\d\d\n", said())
    ran(call(promote, "--rollback=true"))

    link = rf"\[{BLEND} {store.poor}\]\(#/models/{BLEND}/versions/{store.poor}\)"
    assert re.search(rf"Standing: was the champion until \d{{4}}-\d\d-\d\d; {link} followed\n", said())
    assert [line for line in said().splitlines() if "Standing" not in line] == [
        line for line in before.splitlines() if "Standing" not in line
    ]


def test_a_gain_below_the_one_asked_for_is_refused_and_force_is_on_record_for_ever(store):
    ran(call(promote, version(store.poor)))

    assert "asked for 100 m" in refused(call(promote, version(store.good), "--min_gain_m=100"))
    ran(call(promote, version(store.good), "--min_gain_m=100", "--force=true"))

    assert holder("champion") == store.good
    assert verdicts()[-1] == ("forced", str(store.poor), str(store.good))
    tags = MlflowClient().get_model_version(BLEND, str(store.good)).tags
    assert "asked for 100 m" in tags["atma18.forced"]
    MlflowClient().delete_model_version_tag(BLEND, str(store.good), "atma18.forced")


@pytest.fixture(scope="module")
def beaten(blends, tiny_folder):
    """Blends that do not beat the motion model, on drives that it predicts well: of images alone, and of itself."""
    data = f"--data={tiny_folder}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "git_state", lambda: COMMIT)
        ran(call(motion, data))
        ran(call(embed, data, FAST, *OF_METRES))
        ran(call(blend, data, "--inputs=embed"))
        worse = newest("blend")
        ran(call(blend, data, "--inputs=motion"))
        return SimpleNamespace(motion=newest("motion"), worse=worse, equal=newest("blend"))


def gain_over(run, other):
    return other.data.metrics["oof/mae_m_testmix"] - run.data.metrics["oof/mae_m_testmix"]


@pytest.mark.parametrize("which", ["worse", "equal"])
def test_a_blend_that_does_not_beat_the_motion_model_is_refused_and_force_is_on_record_for_ever(store, beaten, which):
    run = getattr(beaten, which)
    number, gain_m = str(version_of("blend", run)), gain_over(run, beaten.motion)
    assert gain_m < -1 if which == "worse" else gain_m == pytest.approx(0, abs=1e-9)

    said = refused(call(promote, version(number)))
    [reason] = [line for line in said.splitlines() if "not promoted" in line]
    stands = "lower" if which == "equal" else "higher"
    assert f"motion: test-mix MAE {abs(gain_m):.5f} m {stands} than that of the motion model, 95 %" in reason
    assert holder("champion") is None
    assert verdicts() == [("refused", "none", number)]
    assert records()[0].data.metrics["gain_over_motion/mean_m"] == pytest.approx(gain_m, abs=1e-9)

    ran(call(promote, version(number), "--force=true"))
    assert holder("champion") == int(number)
    assert verdicts()[1:] == [("forced", "none", number)]
    forced = MlflowClient().get_model_version(BLEND, number).tags["atma18.forced"]
    assert forced.startswith("forced, although motion: test-mix MAE ")
    listed = " ".join(ran(call(promote, "--history=true")).split())
    assert listed.count("than that of the motion model") == 2
    assert f"over the motion model {gain_m:+.4f} m" in listed


def test_a_blend_that_beats_the_champion_must_beat_the_motion_model_too(store, beaten):
    worse, equal = (version_of("blend", run) for run in (beaten.worse, beaten.equal))
    ran(call(promote, version(worse), "--force=true"))

    said = refused(call(promote, version(equal)))

    assert re.search(r"^passed +gain ", said, re.MULTILINE)
    assert "not promoted: motion: " in said
    assert holder("champion") == int(worse)


def test_the_champion_is_not_promoted_again(store):
    ran(call(promote, version(store.good)))

    assert f"version {store.good} is the champion already" in refused(
        call(promote, version(store.good), "--force=true")
    )
    assert (holder("champion"), holder("previous")) == (store.good, None)


@pytest.mark.parametrize("state", [f"{COMMIT}+dirty", "none"], ids=["dirty", "without git"])
def test_uncommitted_code_is_refused_without_force(store, monkeypatch, state):
    monkeypatch.setattr(runs, "git_state", lambda: state)
    ran(call(blend, store.data))
    number = version_of("blend", newest("blend"))

    said = refused(call(promote, version(number)))
    assert "code: not made by committed code" in said
    assert state in said
    assert holder("champion") is None
    ran(call(promote, version(number), "--force=true"))
    assert holder("champion") == int(number)
    assert "committed code" in MlflowClient().get_model_version(BLEND, str(number)).tags["atma18.forced"]


@pytest.fixture
def harmed():
    """Change files and put them back."""
    kept = {}

    def harm(path):
        kept[path] = path.read_bytes()
        path.write_bytes(kept[path][:-1] + bytes([kept[path][-1] ^ 1]))

    yield harm
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.mark.parametrize("step", ["embed", "nn1", "gbdt", "blend"])
def test_a_changed_byte_anywhere_in_the_lineage_is_refused_whatever_force_says(store, harmed, step):
    made = [run for run in all_runs() if run.data.tags.get("atma18.step") == step]
    harmed(artifacts(made[0]) / "predictions" / "oof.parquet")

    said = refused(call(promote, version(store.good), "--force=true"))

    assert "lineage" in said
    assert "oof.parquet (changed)" in said
    assert made[0].info.run_id in said
    assert holder("champion") is None
    assert verdicts()[-1] == ("refused", "none", str(store.good))


def test_a_version_that_was_pointed_at_another_model_is_refused(store):
    good = MlflowClient().get_model_version(BLEND, str(store.good))
    poor = MlflowClient().get_model_version(BLEND, str(store.poor))
    forged = MlflowClient().create_model_version(BLEND, source=poor.source, run_id=good.run_id)

    said = refused(call(promote, version(forged.version), "--force=true"))

    assert f"found a version that points at {poor.source}" in said
    assert holder("champion") is None
    MlflowClient().delete_model_version(BLEND, str(forged.version))


def test_a_servable_that_answers_otherwise_than_was_stored_is_refused(store, monkeypatch):
    predict_all = blend_step.predict_all

    def off_by_a_millimetre(*given):
        predicted = predict_all(*given)
        predicted.test_by_fold_m[:] += 1e-3
        return predicted

    monkeypatch.setattr(blend_step, "predict_all", off_by_a_millimetre)
    ran(call(blend, store.data))
    number = version_of("blend", newest("blend"))

    said = refused(call(promote, version(number), "--force=true"))

    assert "servable:" in said
    assert "worst 0.001 m" in said
    assert holder("champion") is None


def test_a_champion_of_other_folds_is_not_compared(store):
    ran(call(embed, store.data, "--fold_seed=1"))
    ran(call(blend, store.data, "--fold_seed=1", "--inputs=embed"))
    number = int(version_of("blend", newest("blend")))
    ran(call(promote, version(number)))

    said = refused(call(promote, version(store.good)))

    assert f"setting: the champion has folds {newest('blend').data.tags['atma18.folds_sha256'][:12]}" in said
    assert holder("champion") == number


def test_other_drives_are_refused(store, tmp_path):
    said = refused(call(promote, version(store.good), f"--data={tmp_path}"))
    assert "expected this file in the dataset folder" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param("models:/atma18-nn1/1", "only blends are promoted", id="a net"),
        pytest.param("models:/atma18-blend/99", "expected a registered version, found none", id="no such version"),
        pytest.param("blend", "found 'blend'", id="no name of a version"),
    ],
)
def test_only_registered_blends_are_candidates(store, given, said):
    assert said in refused(call(promote, f"--candidate={given}"))
    assert holder("champion") is None


def test_without_a_previous_champion_there_is_nothing_to_roll_back_to(store):
    ran(call(promote, version(store.good)))

    assert "expected a version with the alias previous" in refused(call(promote, "--rollback=true"))
    assert holder("champion") == store.good
