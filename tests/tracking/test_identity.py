"""Everything that can change a result must change the fingerprint, and the tags must contain all of it."""

import re
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from atma18.compute import Compute
from atma18.config import PRESETS
from atma18.data.folds import Folds, make_folds
from atma18.storage.digests import code_sha256, config_sha256
from atma18.tracking import identity
from atma18.tracking.identity import Identity

NN1 = Identity(
    step="nn1",
    stage="both",
    data_sha256="d1",
    folds_sha256="f1",
    config_sha256="c1",
    code_sha256="k1",
    weights_sha256="w1",
    device="cpu",
    threads=2,
    inputs={"init": "run-1", "embed": "run-2"},
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", "nn2"),
        ("stage", "first"),
        ("stage", None),
        ("data_sha256", "d2"),
        ("folds_sha256", "f2"),
        ("config_sha256", "c2"),
        ("code_sha256", "k2"),
        ("weights_sha256", "w2"),
        ("weights_sha256", None),
        ("device", "cuda"),
        ("threads", 3),
        ("inputs", {"init": "run-3", "embed": "run-2"}),
        ("inputs", {"init": "run-2", "embed": "run-1"}),
        ("inputs", {"init-2": "run-1", "embed": "run-2"}),
        ("inputs", {"embed": "run-2"}),
        ("inputs", {}),
    ],
    ids=str,
)
def test_the_fingerprint_changes_with(name, value):
    assert replace(NN1, **{name: value}).fingerprint != NN1.fingerprint


def test_every_field_is_among_those_that_change_the_fingerprint():
    [parametrized] = test_the_fingerprint_changes_with.pytestmark

    assert {name for name, _ in parametrized.args[1]} == set(Identity.__dataclass_fields__)


def test_the_fingerprint_is_the_same_for_equal_identities_in_any_order_of_inputs():
    again = replace(NN1, inputs={"embed": "run-2", "init": "run-1"})

    assert again.fingerprint == NN1.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", NN1.fingerprint)


def test_the_tags_say_all_of_it_under_one_prefix():
    assert NN1.tags == {
        "atma18.step": "nn1",
        "atma18.stage": "both",
        "atma18.data_sha256": "d1",
        "atma18.folds_sha256": "f1",
        "atma18.config_sha256": "c1",
        "atma18.code_sha256": "k1",
        "atma18.weights_sha256": "w1",
        "atma18.fingerprint": NN1.fingerprint,
        "atma18.input.init": "run-1",
        "atma18.input.embed": "run-2",
    }


def test_what_a_step_does_not_have_gets_no_tag():
    tags = replace(NN1, stage=None, weights_sha256=None, inputs={}).tags

    assert set(tags) == {
        f"atma18.{name}"
        for name in ("step", "data_sha256", "folds_sha256", "config_sha256", "code_sha256", "fingerprint")
    }


@pytest.fixture
def experiment(tiny):
    """What an identity reads of an experiment."""
    train = tiny.train
    folds = Folds(train.ids, make_folds(train.ids, train.scenes, train.signals, 3, seed=0))
    return SimpleNamespace(dataset=tiny, folds=folds, machine=Compute("cpu", 7, bfloat16=False))


def test_a_steps_identity_comes_from_its_experiment(tiny, experiment):
    config = PRESETS["quick"].nn2

    found = Identity.of("nn2", experiment, config, {"init": "run-9"}, weights_sha256="w9")

    assert found == Identity(
        step="nn2",
        stage="whole",
        data_sha256=tiny.sha256,
        folds_sha256=experiment.folds.sha256,
        config_sha256=config_sha256(config),
        code_sha256=code_sha256(),
        weights_sha256="w9",
        device="cpu",
        threads=7,
        inputs={"init": "run-9"},
    )


def test_a_step_without_stages_and_weights_has_neither(experiment):
    found = Identity.of("gbdt", experiment, PRESETS["quick"].gbdt, {})

    assert (found.stage, found.weights_sha256) == (None, None)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository with one commit in the place of the project's."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(identity, "PROJECT_FOLDER", tmp_path)
    (tmp_path / "conda.yaml").write_text("one")
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "conda.yaml"), (*who, "commit", "-q", "-m", "one")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_git_says_the_commit_and_whether_it_was_changed(checkout):
    done = subprocess.run(["git", "log", "--format=%H"], cwd=checkout, check=True, capture_output=True, text=True)
    commit = done.stdout.strip()
    ask = identity.git_state.__wrapped__  # the answer is kept for the life of a process

    assert ask() == commit
    (checkout / "drives.csv").write_text("not code")
    assert ask() == commit
    (checkout / "conda.yaml").write_text("two")
    assert ask() == f"{commit}+dirty"


def test_a_module_that_git_does_not_know_makes_it_dirty(checkout):
    (checkout / "atma18" / "new").mkdir(parents=True)
    (checkout / "atma18" / "new" / "module.py").write_text("")

    assert identity.git_state.__wrapped__().endswith("+dirty")


@pytest.mark.parametrize("why", ["no repository", "no git"])
def test_without_git_there_is_no_commit(tmp_path, monkeypatch, why):
    monkeypatch.setattr(identity, "PROJECT_FOLDER", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    if why == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))

    assert identity.git_state.__wrapped__() == "none"
