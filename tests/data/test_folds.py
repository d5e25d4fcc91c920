"""Folds keep scenes whole, balance the kinds of drives, and do not depend on the order of rows."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atma18.data.folds import Folds, held_out_scenes, make_folds


def drives(sizes, seed=0, levels=None):
    """IDs, scenes and signals of scenes with these sizes; `levels` sets each scene's speed."""
    scenes = np.repeat([f"{s:03d}" for s in range(len(sizes))], sizes)
    times = np.concatenate([np.arange(size) for size in sizes])
    ids = np.array([f"{scene}_{20 + 100 * t}" for scene, t in zip(scenes, times, strict=True)])
    rng = np.random.default_rng(seed)
    speed_mps = rng.uniform(0, 25, len(ids)) if levels is None else np.repeat(np.asarray(levels, float), sizes)
    steering_deg = rng.normal(0, 60, len(ids)) if levels is None else np.zeros(len(ids))
    return ids, scenes, pd.DataFrame({"vEgo": speed_mps, "steeringAngleDeg": steering_deg, "brake": 0.0})


@st.composite
def some_drives(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=3, max_size=60))
    levels = draw(st.none() | st.lists(st.sampled_from([0, 0.1, 9]), min_size=len(sizes), max_size=len(sizes)))
    count = draw(st.integers(2, min(10, len(sizes))))
    return drives(sizes, draw(st.integers(0, 9)), levels), count, draw(st.integers(0, 9))


@settings(max_examples=30, deadline=None)
@given(some_drives())
def test_scenes_stay_whole_and_folds_have_equally_many(drawn):
    (ids, scenes, signals), count, seed = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fold = make_folds(ids, scenes, signals, count, seed)

    per_scene = pd.Series(fold).groupby(scenes).nunique()
    scenes_per_fold = pd.Series(scenes).groupby(fold).nunique()
    assert (per_scene == 1).all()
    assert scenes_per_fold.index.tolist() == list(range(count))
    assert scenes_per_fold.max() - scenes_per_fold.min() <= 1


@settings(max_examples=30, deadline=None)
@given(some_drives(), st.randoms(use_true_random=False))
def test_a_shuffle_of_rows_changes_nothing(drawn, random):
    (ids, scenes, signals), count, seed = drawn
    order = list(range(len(ids)))
    random.shuffle(order)

    fold = make_folds(ids, scenes, signals, count, seed)
    shuffled = make_folds(ids[order], scenes[order], signals.iloc[order], count, seed)

    np.testing.assert_array_equal(shuffled, fold[order])
    assert fold.dtype == np.int64
    assert Folds(ids[order], shuffled).sha256 == Folds(ids, fold).sha256


def test_every_fold_gets_its_share_of_slow_and_fast_scenes():
    levels = [0.0] * 10 + [20.0] * 10
    ids, scenes, signals = drives([3] * 20, levels=levels)

    fold = make_folds(ids, scenes, signals, 5, seed=0)

    fast = pd.Series(signals["vEgo"] > 10).groupby(fold).sum()
    assert fast.tolist() == [6] * 5  # two of the ten fast scenes each, three samples per scene


def test_every_fold_gets_its_share_of_every_scene_size():
    sizes = [1, 2, 6] * 10
    ids, scenes, signals = drives(sizes, levels=[5.0] * 30)

    fold = make_folds(ids, scenes, signals, 5, seed=0)

    found = pd.Series(np.repeat(sizes, sizes)).groupby([fold, scenes]).first().groupby(level=0).apply(sorted)
    assert found.tolist() == [[1, 1, 2, 2, 6, 6]] * 5


def test_the_seed_deals_anew_and_repeats_itself():
    ids, scenes, signals = drives([2] * 40)

    first, again, other = (make_folds(ids, scenes, signals, 4, seed) for seed in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_rounding_errors_of_a_constant_signal_are_no_cluster():
    sizes = [1, 2, 3, 4, 5, 6] * 6
    ids, scenes, signals = drives(sizes, levels=[0.1] * 36)  # a mean of three 0.1 is not 0.1

    fold = make_folds(ids, scenes, signals, 3, seed=0)
    exact = make_folds(ids, scenes, signals.assign(vEgo=0.0), 3, seed=0)

    np.testing.assert_array_equal(fold, exact)


@pytest.mark.parametrize(
    ("scene_count", "count", "message"),
    [
        pytest.param(3, 5, "5 folds and 3 scenes: ask for 2 to 3 folds or add drives$", id="too few scenes"),
        pytest.param(2, 3, "3 folds and 2 scenes: ask for 2 folds or add drives$", id="two scenes"),
        pytest.param(1, 3, "3 folds and 1 scenes: add drives: two training scenes are the least$", id="one scene"),
        pytest.param(3, 1, "1 folds and 3 scenes", id="one fold"),
    ],
)
def test_impossible_counts_are_refused_saying_what_to_do(scene_count, count, message):
    with pytest.raises(ValueError, match=message):
        make_folds(*drives([2] * scene_count), count, seed=0)


def test_repeated_ids_are_refused_by_name():
    ids, scenes, signals = drives([2, 2])
    ids[1] = ids[0]

    with pytest.raises(ValueError, match="repeated: 000_20"):
        make_folds(ids, scenes, signals, 2, seed=0)


FOLDS = Folds(np.array(["a_20", "a_120", "b_20", "c_20"]), np.array([1, 1, 0, 2]))


def test_folds_are_joined_by_id():
    assert FOLDS.of(np.array(["c_20", "a_120", "b_20", "a_20"])).tolist() == [2, 1, 0, 1]
    assert FOLDS.count == 3


def test_folds_of_other_ids_are_refused_by_name():
    with pytest.raises(ValueError, match="missing: d_20; extra: c_20"):
        FOLDS.of(np.array(["a_20", "a_120", "b_20", "d_20"]))


def test_folds_survive_a_file(tmp_path):
    FOLDS.write(tmp_path / "folds.parquet")
    read = Folds.read(tmp_path / "folds.parquet")

    assert pd.read_parquet(tmp_path / "folds.parquet").columns.tolist() == ["ID", "fold"]
    assert read.ids.tolist() == FOLDS.ids.tolist()
    assert read.fold.tolist() == FOLDS.fold.tolist()
    assert read.sha256 == FOLDS.sha256


def test_digest_is_of_the_mapping():
    moved = Folds(FOLDS.ids, np.array([1, 1, 2, 0]))
    renamed = Folds(np.array(["a_20", "a_12", "b_20", "c_20"]), FOLDS.fold)

    assert len({FOLDS.sha256, moved.sha256, renamed.sha256}) == 3


@pytest.mark.parametrize(
    ("ids", "fold", "message"),
    [
        pytest.param(["a_20", "a_20", "b_20"], [0, 0, 1], "repeated: a_20", id="repeated ID"),
        pytest.param(["a_20", "a_120", "b_20"], [0, 1, 1], "in several: a$", id="split scene"),
        pytest.param(["a_20", "b_20", "c_20"], [0, 2, 2], r"found \[0, 2\]", id="empty fold"),
        pytest.param(["a_20", "b_20"], [1, 2], r"found \[1, 2\]", id="not from 0"),
        pytest.param(["a_20", "b_20"], [0, 0], r"found \[0\]", id="one fold"),
        pytest.param([], [], r"found \[\]", id="nothing"),
        pytest.param(["a_20", "b_20"], [0], r"\(2,\) IDs, found \(1,\)", id="lengths"),
    ],
)
def test_broken_folds_are_refused(ids, fold, message):
    with pytest.raises(ValueError, match=message):
        Folds(np.array(ids, dtype=np.str_), np.array(fold, dtype=np.int64))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param({"ID": ["a_20", "b_20"]}, "columns ID and fold, found", id="no fold column"),
        pytest.param({"ID": ["a_20", "b_20"], "fold": [0.0, 1.5]}, "whole numbers .* float64", id="fractions"),
    ],
)
def test_other_tables_are_refused(table, message, tmp_path):
    pd.DataFrame(table).to_parquet(tmp_path / "folds.parquet")

    with pytest.raises(ValueError, match=message):
        Folds.read(tmp_path / "folds.parquet")


@pytest.mark.parametrize(
    ("scene_count", "expected"),
    [
        pytest.param(6, 2, id="at least two"),
        pytest.param(29, 2, id="two tenths of 29"),
        pytest.param(30, 3, id="a tenth"),
        pytest.param(200, 20, id="a tenth of many"),
    ],
)
def test_a_tenth_of_the_scenes_is_held_out_whole(scene_count, expected):
    scenes = np.repeat([f"{s:03d}" for s in range(scene_count)], 3)

    held_out = held_out_scenes(scenes, seed=0)

    assert held_out.dtype == bool
    assert len(set(scenes[held_out])) == expected
    assert not set(scenes[held_out]) & set(scenes[~held_out])


@pytest.mark.parametrize(("scenes", "parts", "size"), [(60, 3, 6), (60, 20, 3), (12, 6, 2)])
def test_parts_of_held_out_scenes_have_none_in_common(scenes, parts, size):
    scenes = np.repeat([f"s{i:02}" for i in range(scenes)], 2)

    held_out = [set(scenes[held_out_scenes(scenes, 0, part, parts)]) for part in range(parts)]

    assert [len(part) for part in held_out] == [size] * parts
    assert len(set.union(*held_out)) == size * parts


def test_more_parts_than_there_are_pairs_of_scenes_are_refused():
    with pytest.raises(ValueError, match="expected at most 6 parts of 12 training scenes, found 7"):
        held_out_scenes(np.repeat([*"abcdefghijkl"], 2), 0, 0, 7)


def test_held_out_scenes_depend_on_the_seed_not_on_the_order_of_rows():
    scenes = np.repeat([f"{s:03d}" for s in range(50)], 2)
    order = np.random.default_rng(0).permutation(100)

    held_out = held_out_scenes(scenes, seed=3)

    np.testing.assert_array_equal(held_out_scenes(scenes[order], seed=3), held_out[order])
    assert (held_out_scenes(scenes, seed=4) != held_out).any()


def test_five_scenes_are_too_few_to_hold_any_out():
    assert held_out_scenes(np.repeat(list("abcde"), 6), seed=0) is None
