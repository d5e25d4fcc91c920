"""Properties of all IDs, predictions, folds and digests, tested with hypothesis."""

import json
import random
import re
import string
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from atma18.data.folds import Folds, make_folds
from atma18.data.predictions import Predictions
from atma18.schema import (
    CAN_SIGNALS,
    FRAME_SHAPE,
    GEARS,
    LIGHT_CLASSES,
    TARGETS,
    FrameRows,
    Samples,
    canonical_order,
    is_id,
    rows_of,
    split_id,
)
from atma18.storage.digests import canonical_json, data_sha256, sha256_of_records

# --- IDs

NAME_CHARACTERS = string.ascii_letters + string.digits
scenes = st.builds(
    str.__add__, st.sampled_from(NAME_CHARACTERS), st.text(st.sampled_from(NAME_CHARACTERS + "-_"), max_size=12)
)
ids = st.builds("{}_{}".format, scenes, st.integers(0, 999_999_999))


@given(scenes, st.integers(0, 999_999_999))
def test_an_id_says_its_scene_and_its_time(scene, decisecond):
    assert is_id(f"{scene}_{decisecond}")
    assert split_id(f"{scene}_{decisecond}") == (scene, decisecond)


def is_an_id_by_hand(text):
    """The rule once more, without a regular expression."""
    scene, underscore, time = text.rpartition("_")
    return (
        underscore == "_"
        and scene != ""
        and all(c in NAME_CHARACTERS + "-_" for c in scene)
        and scene[0] in NAME_CHARACTERS
        and time != ""
        and all(c in string.digits for c in time)
        and len(time) <= 9
        and (time == "0" or time[0] != "0")
        and len(text) <= 200
    )


almost_ids = st.lists(
    st.sampled_from(["a", "Z", "0", "9", "-", "_", ".", "/", "../", "_20", "_020", " ", "\n", "٣", "_1" + "1" * 9]),
    max_size=4,
).map("".join)


@settings(max_examples=500)
@given(almost_ids | st.text(max_size=12) | ids)
def test_whatever_else_a_text_is_it_is_no_id(text):
    assert is_id(text) == is_an_id_by_hand(text)
    if is_id(text):
        assert split_id(text) == (text.rpartition("_")[0], int(text.rpartition("_")[2]))
    else:
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            split_id(text)


@given(st.lists(ids, unique=True, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_samples_is_by_scene_and_then_by_time_as_a_number(sample_ids, rng):
    expected = sorted(sample_ids, key=lambda i: (i.rpartition("_")[0], int(i.rpartition("_")[2])))
    rng.shuffle(sample_ids)

    assert [sample_ids[row] for row in canonical_order(sample_ids)] == expected


@given(st.lists(ids, unique=True, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_a_join_finds_every_row_or_names_who_is_wrong(sample_ids, rng):
    shuffled = rng.sample(sample_ids, len(sample_ids))
    wanted, have = np.array(sample_ids), np.array(shuffled)

    np.testing.assert_array_equal(have[rows_of(wanted, have, "here")], wanted)
    for wrong, kind in (([*shuffled, shuffled[0]], "repeated"), (shuffled[1:], "missing"), ([*shuffled, "!"], "extra")):
        offender = "!" if kind == "extra" else shuffled[0]
        with pytest.raises(ValueError, match=rf"here: .*{kind}: .*{re.escape(offender)}"):
            rows_of(wanted, np.array(wrong), "here")


# --- Predictions


@st.composite
def predictions(draw):
    """Training IDs in 2 to 4 folds, test IDs, and numbers drawn from a seed."""
    folds = draw(st.integers(2, 4))
    train = draw(st.lists(ids, unique=True, min_size=folds, max_size=12))
    test = draw(st.lists(ids, unique=True, min_size=1, max_size=6))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return Predictions(
        train_ids=np.array(train),
        folds=rng.permutation(np.resize(np.arange(folds), len(train))),
        oof_m=rng.normal(0, 20, (len(train), len(TARGETS))),
        test_ids=np.array(test),
        test_by_fold_m=rng.normal(0, 20, (folds, len(test), len(TARGETS))),
    )


FILES = ("oof", "test", "test_by_fold")


def rewritten(written, name, change):
    """Write predictions, change one of the files, and read them again."""
    with TemporaryDirectory() as folder:
        written.write(Path(folder))
        path = Path(folder) / f"{name}.parquet"
        change(pd.read_parquet(path)).to_parquet(path, index=False)
        return Predictions.read(Path(folder))


@settings(max_examples=40, deadline=None)
@given(predictions(), st.sampled_from(FILES), st.integers(0, 99))
def test_predictions_do_not_depend_on_the_order_of_rows_or_columns(written, name, seed):
    def shuffle(table):
        columns = random.Random(seed).sample(list(table.columns), len(table.columns))
        return table.sample(frac=1, random_state=seed)[columns]

    read = rewritten(written, name, shuffle).aligned(written.train_ids, written.test_ids, "again")

    for field in ("train_ids", "folds", "oof_m", "test_ids", "test_by_fold_m"):
        np.testing.assert_array_equal(getattr(read, field), getattr(written, field))


def repeat_a_row(table, row):
    return pd.concat([table, table.iloc[[row]]])


def drop_a_row(table, row):
    return table.drop(index=table.index[row])


def rename_a_row(table, row):
    return table.assign(ID=table["ID"].where(np.arange(len(table)) != row, "nobody_0"))


@settings(max_examples=60, deadline=None)
@given(predictions(), st.sampled_from(FILES), st.sampled_from([repeat_a_row, drop_a_row, rename_a_row]), st.data())
def test_a_repeated_a_missing_and_a_strange_id_never_go_through(written, name, damage, data):
    rows = {
        "oof": len(written.train_ids),
        "test": len(written.test_ids),
        "test_by_fold": written.test_by_fold_m[..., 0].size,
    }
    row = data.draw(st.integers(0, rows[name] - 1))

    with pytest.raises(ValueError, match="expected"):
        rewritten(written, name, lambda table: damage(table, row)).aligned(written.train_ids, written.test_ids, "again")


@settings(max_examples=40, deadline=None)
@given(predictions(), st.sampled_from(FILES), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_a_number_that_is_not_finite_never_goes_through(written, name, value, data):
    def damage(table):
        row = data.draw(st.integers(0, len(table) - 1))
        column = data.draw(st.sampled_from(TARGETS))
        table.loc[table.index[row], column] = value
        return table

    with pytest.raises(ValueError, match=r"finite|not the mean"):
        rewritten(written, name, damage)


# --- Folds


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 200), st.integers(2, 10), st.integers(0, 10_000), st.integers(0, 5))
def test_folds_keep_scenes_whole_leave_none_empty_and_forget_the_order_of_rows(scene_count, count, seed, fold_seed):
    assume(count <= scene_count)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, scene_count)
    scene = np.repeat([f"s{number:03d}" for number in rng.permutation(scene_count)], sizes)
    sample_ids = np.array([f"{s}_{20 + 100 * i}" for i, s in enumerate(scene)])
    signals = pd.DataFrame({"vEgo": rng.gamma(2, 6, len(scene)), "aEgo": rng.normal(0, 1, len(scene)), "brake": 0.0})
    order = rng.permutation(len(scene))

    fold = make_folds(sample_ids, scene, signals, count, fold_seed)
    shuffled = make_folds(sample_ids[order], scene[order], signals.iloc[order], count, fold_seed)

    assert set(fold.tolist()) == set(range(count))
    assert pd.Series(fold).groupby(scene).nunique().max() == 1
    np.testing.assert_array_equal(shuffled, fold[order])
    assert Folds(sample_ids, fold).sha256 == Folds(sample_ids[order], shuffled).sha256


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.lists(scenes, unique=True, min_size=5, max_size=12), st.data())
def test_moving_a_scene_to_another_fold_changes_the_digest_of_the_folds(count, names, data):
    fold = np.resize(np.arange(count), len(names))
    sample_ids = np.array([f"{name}_20" for name in names])
    moved = fold.copy()
    row = data.draw(st.integers(0, len(names) - 1))
    moved[row] = (moved[row] + 1) % count
    assume(len(set(moved.tolist())) == count)

    assert Folds(sample_ids, moved).sha256 != Folds(sample_ids, fold).sha256


# --- Digests


@given(st.lists(st.lists(st.binary(max_size=4), max_size=4), max_size=4), st.data())
def test_different_records_have_different_digests(records, data):
    other = data.draw(st.lists(st.lists(st.binary(max_size=4), max_size=4), max_size=4))
    flat, other_flat = [f for r in records for f in r], [f for r in other for f in r]

    assert (sha256_of_records(records) == sha256_of_records(other)) == (flat == other_flat)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(json_values)
def test_canonical_json_is_one_text_however_the_value_was_written(value):
    spaced = json.loads(json.dumps(value, indent=3))
    turned = json.loads(json.dumps(value), object_pairs_hook=lambda pairs: dict(reversed(pairs)))

    assert canonical_json(spaced) == canonical_json(turned) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


def content(train, test, seed):
    """The arguments of `data_sha256` for some drives, all values drawn from a seed."""
    rng = np.random.default_rng(seed)

    def samples(sample_ids):
        n = len(sample_ids)
        sample_ids = np.array(sample_ids)[canonical_order(sample_ids)]
        return Samples(
            ids=sample_ids,
            signals=pd.DataFrame({name: rng.normal(0, 9, n) for name in CAN_SIGNALS}),
            gear=rng.choice(GEARS, n),
            traffic_lights=None,
            frames=FrameRows.of(np.zeros((n, *FRAME_SHAPE), np.uint8)),
        )

    splits = {"train": samples(train), "test": samples(test)}
    return {
        "splits": splits,
        "frame_sha256": {
            split: rng.integers(0, 256, (len(part), 3, 32), dtype=np.uint8) for split, part in splits.items()
        },
        "targets_m": rng.normal(0, 20, (len(train), len(TARGETS))),
        "lights": {
            i: [(str(rng.choice(LIGHT_CLASSES)), tuple(rng.uniform(0, 128, 4).tolist()))] for i in [*train, *test]
        },
        "camera_json": None,
    }


def change_a_signal(given_, row, rng):
    train = given_["splits"]["train"]
    signals = train.signals.copy()
    signals.iloc[row, rng.integers(len(CAN_SIGNALS))] += 1e-9
    return given_ | {"splits": given_["splits"] | {"train": replace(train, signals=signals)}}


def change_a_gear(given_, row, rng):
    train = given_["splits"]["train"]
    gear = train.gear.copy()
    gear[row] = next(name for name in GEARS if name != gear[row])
    return given_ | {"splits": given_["splits"] | {"train": replace(train, gear=gear)}}


def change_a_target(given_, row, rng):
    targets = given_["targets_m"].copy()
    targets[row, rng.integers(len(TARGETS))] += 1e-9
    return given_ | {"targets_m": targets}


def change_a_frame(given_, row, rng):
    frames = given_["frame_sha256"]["train"].copy()
    frames[row, rng.integers(3), rng.integers(32)] ^= 1
    return given_ | {"frame_sha256": given_["frame_sha256"] | {"train": frames}}


def exchange_two_frames(given_, row, rng):
    frames = given_["frame_sha256"]["train"].copy()
    frames[row, [0, 1]] = frames[row, [1, 0]]
    return given_ | {"frame_sha256": given_["frame_sha256"] | {"train": frames}}


def change_a_light(given_, row, rng):
    sample_id = str(given_["splits"]["train"].ids[row])
    [(name, box)] = given_["lights"][sample_id]
    return given_ | {"lights": given_["lights"] | {sample_id: [(name, (*box[:3], box[3] + 1e-9))]}}


def bring_a_camera(given_, row, rng):
    return given_ | {"camera_json": {"height_above_road_m": 1.5}}


def exchange_the_splits(given_, row, rng):
    splits, frames = given_["splits"], given_["frame_sha256"]
    return given_ | {
        "splits": {"train": splits["test"], "test": splits["train"]},
        "frame_sha256": {"train": frames["test"], "test": frames["train"]},
        "targets_m": np.resize(given_["targets_m"], (len(splits["test"]), len(TARGETS))),
    }


CHANGES = [
    change_a_signal,
    change_a_gear,
    change_a_target,
    change_a_frame,
    exchange_two_frames,
    change_a_light,
    bring_a_camera,
    exchange_the_splits,
]


@settings(max_examples=150, deadline=None)
@given(st.lists(ids, unique=True, min_size=3, max_size=9), st.integers(0, 999), st.sampled_from(CHANGES), st.data())
def test_any_change_of_content_changes_the_digest_of_the_data(sample_ids, seed, change, data):
    drawn = content(sample_ids[2:], sample_ids[:2], seed)
    row = data.draw(st.integers(0, len(sample_ids) - 3))

    assert data_sha256(**change(drawn, row, np.random.default_rng(seed))) != data_sha256(**drawn)
