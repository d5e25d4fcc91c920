"""A run context determines its folds once: they are made and cached, or taken from a run, and never made again."""

import re
from dataclasses import replace

import numpy as np
import pytest

from atma18 import run_context
from atma18.cache import Cache
from atma18.config import PRESETS
from atma18.data.folds import Folds
from atma18.run_context import RunContext, cached_folds


def nothing_to_adopt(run):
    raise AssertionError(f"asked for the folds of {run}")


@pytest.fixture
def open_context(monkeypatch, tiny_folder, tiny_cache):
    """Open a run context on the tiny drives, with everything else as by default."""
    monkeypatch.setenv("ATMA18_CACHE", str(tiny_cache.root))

    def open_it(data=str(tiny_folder), preset="quick", folds=None, fold_seed=0, seed=0, adopt=nothing_to_adopt):
        return RunContext.open(data, preset, folds, fold_seed, seed, Cache.open(), adopt)

    return open_it


@pytest.fixture
def cache(tmp_path):
    return Cache.open(tmp_path / "own")


def dealt_by_hand(tiny):
    """Two folds that no k-means would choose: the first scene alone, and all others."""
    scenes = tiny.train.scenes
    return Folds(tiny.train.ids, (scenes != scenes[0]).astype(np.int64))


@pytest.mark.parametrize(
    ("preset", "folds", "count"),
    [
        pytest.param("quick", None, 3, id="quick"),
        pytest.param("seed", None, 5, id="seed"),
        pytest.param("seed", "4", 4, id="a count"),
        pytest.param("quick", "12", 12, id="every scene its own"),
    ],
)
def test_folds_are_as_many_as_asked_for_and_cover_every_training_sample(open_context, tiny, preset, folds, count):
    opened = open_context(preset=preset, folds=folds)

    assert opened.folds.count == count
    assert opened.folds.ids.tolist() == tiny.train.ids.tolist()
    assert opened.preset is PRESETS[preset]
    assert opened.dataset.sha256 == tiny.sha256


def test_the_fold_seed_deals_and_the_seed_does_not(open_context):
    usual, other_seed, other_folds = open_context(), open_context(seed=7), open_context(fold_seed=7)

    assert other_seed.folds.sha256 == usual.folds.sha256
    assert other_folds.folds.sha256 != usual.folds.sha256
    assert (other_seed.seed, other_folds.fold_seed) == (7, 7)


def test_folds_are_made_once_and_read_from_then_on(monkeypatch, tiny, cache):
    made = cached_folds(tiny, 3, 0, cache)
    monkeypatch.setattr(run_context, "make_folds", nothing_to_adopt)

    read = cached_folds(tiny, 3, 0, cache)

    np.testing.assert_array_equal(read.ids, made.ids)
    np.testing.assert_array_equal(read.fold, made.fold)


def test_kept_folds_win_over_what_would_be_made_today(tiny, cache, monkeypatch):
    """A library upgrade that deals otherwise must not reshuffle folds that are in use."""
    by_hand = dealt_by_hand(tiny)
    with monkeypatch.context() as before_the_upgrade:
        before_the_upgrade.setattr("atma18.run_context.make_folds", lambda *args: by_hand.fold)
        cached_folds(tiny, 2, 0, cache)

    assert cached_folds(tiny, 2, 0, cache).sha256 == by_hand.sha256


def test_folds_that_were_deleted_are_made_again_as_they_were(tiny, cache):
    made = cached_folds(tiny, 3, 0, cache)
    for kept in (cache.root / "folds").glob("*.parquet"):
        kept.unlink()

    again = cached_folds(tiny, 3, 0, cache)

    np.testing.assert_array_equal(again.ids, made.ids)
    np.testing.assert_array_equal(again.fold, made.fold)


def test_folds_of_other_data_another_count_or_another_seed_are_kept_apart(tiny, cache):
    other_data = replace(tiny, sha256="0" * 64)
    for data, count, seed in ((tiny, 3, 0), (other_data, 3, 0), (tiny, 4, 0), (tiny, 3, 1)):
        cached_folds(data, count, seed, cache)

    assert len(list((cache.root / "folds").glob("*.parquet"))) == 4


@pytest.mark.parametrize("run", ["0123456789abcdef0123456789abcdef", "1" * 32, "models:/atma18-nn1/3", "nn1"])
def test_folds_of_a_run_are_adopted_as_they_are(open_context, tiny, run):
    by_hand, asked = dealt_by_hand(tiny), []

    def adopt(name):
        asked.append(name)
        return by_hand

    opened = open_context(folds=run, adopt=adopt)

    assert asked == [run]
    assert opened.folds is by_hand
    assert opened.folds_given == run


def without_the_last(folds):
    return Folds(folds.ids[:-1], folds.fold[:-1])


def with_one_more(folds):
    return Folds(np.append(folds.ids, "zz_20"), np.append(folds.fold, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(without_the_last, "folds: .*missing: {last}$", id="missing"),
        pytest.param(with_one_more, "folds: .*extra: zz_20$", id="extra"),
    ],
)
def test_folds_of_other_samples_are_refused_by_name(open_context, tiny, change, message):
    message = message.format(last=re.escape(tiny.train.ids[-1]))
    with pytest.raises(ValueError, match=message):
        open_context(folds="a-run", adopt=lambda run: change(dealt_by_hand(tiny)))


@pytest.mark.parametrize(
    ("count", "message"),
    [
        pytest.param("0", "at least 2 folds .* found 0 folds and 12 scenes", id="none"),
        pytest.param("1", "at least 2 folds .* found 1 folds and 12 scenes", id="one"),
        pytest.param("13", "ask for 2 to 12 folds", id="more than scenes"),
    ],
)
def test_impossible_counts_are_refused_and_not_kept(open_context, tiny, tiny_cache, count, message):
    with pytest.raises(ValueError, match=message):
        open_context(folds=count)
    assert not tiny_cache.place("folds", f"{tiny.sha256}-{count}-0.parquet").exists()


def test_an_unknown_preset_is_refused_naming_those_that_exist_before_any_data_is_read(open_context):
    names = ", ".join(PRESETS)
    with pytest.raises(ValueError, match=f"^expected a preset of {names}, found 'fast'$"):
        open_context(data="/nowhere", preset="fast")


def test_only_what_differs_from_the_defaults_is_a_parameter(open_context, tiny_folder):
    usual = replace(open_context(), data="demo")

    assert usual.parameters == {}
    assert open_context().parameters == {"data": str(tiny_folder)}
    assert replace(usual, preset_name="seed-small").parameters == {"preset": "seed-small"}
    assert replace(usual, folds_given="3").parameters == {"folds": "3"}  # said, even if the preset says the same
    assert replace(usual, fold_seed=2, seed=1).parameters == {"fold_seed": "2", "seed": "1"}


def test_parameters_given_to_another_step_open_the_same_experiment(open_context):
    opened = open_context(preset="seed-small", folds="4", fold_seed=2, seed=9)
    given = opened.parameters

    again = open_context(**given | {"fold_seed": int(given["fold_seed"]), "seed": int(given["seed"])})

    assert again.folds.sha256 == opened.folds.sha256
    assert again.parameters == given
