"""`main` runs the steps in order and hands each the runs that it reads."""

from types import SimpleNamespace

import pytest

from atma18.config import PRESETS
from atma18.pipeline import all_steps
from atma18.pipeline.all_steps import Configs
from atma18.pipeline.step import Result


@pytest.fixture
def called(monkeypatch):
    """Steps without work, whose runs have their names; returns what each was called with, in order."""
    calls = {}

    def without_work(named, step=None):
        def call(*given):
            name = step or given[0]
            calls[name] = given
            return SimpleNamespace(run=lambda reuse: Result(SimpleNamespace(run_id=f"run of {name}"), reused=reuse))

        monkeypatch.setattr(all_steps, named, call)

    for named, step in {"fitted": None, "net": None, "embed": "embed", "gbdt": "gbdt", "blend": "blend"}.items():
        without_work(named, step)
    return calls


@pytest.mark.parametrize(
    ("preset", "blended"),
    [
        pytest.param("quick", ["motion", "nn1", "nn2", "gbdt"], id="quick"),
        pytest.param("best", ["motion", "gbdt"], id="best"),
        pytest.param("seed", ["nn1", "nn2", "gbdt"], id="seed"),
        pytest.param("seed-small", ["nn1", "nn2", "gbdt"], id="seed-small"),
    ],
)
def test_each_step_reads_the_runs_before_it_and_the_blend_those_that_the_preset_names(called, preset, blended):
    context = SimpleNamespace(preset=PRESETS[preset])

    done = all_steps.run_all(context, Configs.of(PRESETS[preset], {}), reuse=True)

    assert list(called) == list(done) == ["motion", "embed", "nn1", "nn2", "gbdt", "blend"]
    assert called["nn2"][-1] == ("run of nn1" if preset in ("quick", "best") else None)
    assert called["gbdt"][-1] == {name: f"run of {name}" for name in ("embed", "nn1", "nn2")}
    assert called["blend"][-1] == [f"run of {name}" for name in blended]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"nn2_backbone": "lite0"}, id="another backbone"),
        pytest.param({"nn2_context": True}, id="other inputs"),
        pytest.param({"nn1_view": "frame", "nn1_bent_paths": 0}, id="another view"),
    ],
)
def test_a_net_that_reads_otherwise_than_nn1_is_trained_from_the_start(given):
    preset = PRESETS["quick"]

    assert Configs.of(preset, {}).nn2.stage == "head"
    assert Configs.of(preset, given).nn2.stage == "whole"
