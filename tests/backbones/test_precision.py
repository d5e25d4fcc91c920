"""The precision of a backbone is measured once and cached; bfloat16 is chosen only where it is clearly faster."""

import json

import pytest

from atma18.backbones import precision
from atma18.backbones.precision import Precision
from atma18.cache import PRECISION, Cache
from atma18.compute import Compute

COARSE, PLAIN = Compute("cpu", 2, bfloat16=True), Compute("cpu", 2, bfloat16=False)


def choose(cache, machine=COARSE, backbone="lite0", size_px=(64, 128), *, trained=False):
    return precision.choose(machine, cache, backbone, size_px, in_frames=3, trained=trained)


@pytest.fixture
def cache(tmp_path):
    return Cache.open(tmp_path)


@pytest.fixture
def measured(monkeypatch):
    """Answer with 1.5, 2.5, … and note what is measured."""
    asked = []
    monkeypatch.setattr(precision, "_speedup", lambda *work: asked.append(work) or len(asked) + 0.5)
    return asked


@pytest.mark.parametrize(
    ("speedup", "bfloat16", "words"),
    [
        pytest.param(
            None, False, "the backbone runs in float32, for this machine has no fast bfloat16", id="not there"
        ),
        pytest.param(
            0.8,
            False,
            "the backbone runs in float32, for bfloat16 was 0.80 times as fast when measured here",
            id="slower",
        ),
        pytest.param(
            1.09, False, "the backbone runs in float32, for bfloat16 was 1.09 times as fast", id="hardly faster"
        ),
        pytest.param(1.9, True, "the backbone runs in bfloat16, 1.90 times as fast as float32", id="faster"),
    ],
)
def test_bfloat16_is_chosen_where_it_is_clearly_faster(speedup, bfloat16, words):
    assert Precision(speedup).bfloat16 is bfloat16
    assert str(Precision(speedup)).startswith(words)


def test_what_was_measured_once_stays(cache, measured):
    assert choose(cache).speedup == choose(cache).speedup == choose(Cache.open(cache.root)).speedup == 1.5
    assert measured == [("cpu", 2, "lite0", (64, 128), 3, False)]
    assert [entry.kind for entry in cache.entries()] == [PRECISION]


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": "torchvision:resnet18"},
        {"size_px": (224, 224)},
        {"trained": True},
        {"machine": Compute("cpu", 1, bfloat16=True)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_work_is_measured_anew(cache, measured, other):
    assert (choose(cache).speedup, choose(cache, **other).speedup) == (1.5, 2.5)


def test_nothing_is_measured_where_the_hardware_has_none(cache, measured):
    assert choose(cache, PLAIN) == Precision(None)
    assert measured == [] and list(cache.entries()) == []


@pytest.mark.parametrize("trained", [False, True])
def test_both_ways_are_really_run(cache, monkeypatch, trained):
    """The clock ticks once per work in float32, and four times in bfloat16."""
    enabled, clock = [], iter(range(10**6))
    autocast = precision.compute.autocast

    def watched(device, coarse):
        enabled.append(coarse)
        for _ in range(3 * coarse):
            next(clock)
        return autocast(device, coarse)

    monkeypatch.setattr(precision.compute, "autocast", watched)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(clock))
    precision._speedup.cache_clear()

    speedup = choose(cache, trained=trained).speedup

    precision._speedup.cache_clear()
    assert speedup == 1 / 4
    assert enabled == [False, True] * 4
    [kept] = (cache.root / PRECISION).glob("*.json")
    assert json.loads(kept.read_text())["speedup"] == 1 / 4
