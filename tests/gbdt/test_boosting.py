"""Both engines must learn functions with known answers, and held-out rows may determine only the number of rounds."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from atma18.config import GbdtConfig
from atma18.gbdt import boosting, engines
from atma18.gbdt.boosting import Booster

ENGINES = pytest.mark.parametrize("engine", ["xgboost", "catboost"])
PLAIN = GbdtConfig(
    learning_rate=0.5,
    rounds=30,
    early_stopping_rounds=5,
    max_depth=2,
    min_child_weight=0.0,
    gamma=0.0,
    reg_alpha=0.0,
    reg_lambda=0.0,
    subsample=1.0,
    colsample_bytree=1.0,
)
DRAWN = replace(PLAIN, subsample=0.6, colsample_bytree=0.5, learning_rate=0.1)


def fit(config, features, target, held_out=None, *, seed=0):
    return boosting.fit(config, features, target, held_out, seed=seed, threads=1)


def step(n=8):
    """Return n rows of a step: the first feature and the target are -1, then 1; the second feature alternates."""
    side = np.repeat([-1.0, 1.0], n // 2)
    return np.stack([side, np.arange(n) % 2], axis=1).astype(np.float32), side


def noisy(n=300, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4)).astype(np.float32)
    return features, 3.0 * features[:, 0] + features[:, 1] ** 2 + rng.normal(scale=0.1, size=n)


@ENGINES
@pytest.mark.parametrize(
    ("rounds", "learning_rate", "reg_lambda", "level"),
    [
        # A leaf of 4 residuals of 1 with penalty 1 is 4 / (4 + 1).
        pytest.param(1, 1.0, 1.0, 0.8, id="one shrunken leaf"),
        pytest.param(1, 0.5, 0.0, 0.5, id="half a step"),
        # What is left halves each round: 1 - 0.5^3.
        pytest.param(3, 0.5, 0.0, 0.875, id="three half steps"),
    ],
)
def test_a_step_is_learnt_as_worked_out_on_paper(engine, rounds, learning_rate, reg_lambda, level):
    features, target = step()
    config = replace(PLAIN, engine=engine, rounds=rounds, learning_rate=learning_rate, reg_lambda=reg_lambda)

    booster = fit(config, features, target)

    np.testing.assert_allclose(booster.predict(features), level * target, rtol=1e-6)
    assert booster.rounds == rounds
    assert booster.feature_importance().to_dict() == pytest.approx({"f0": 1.0, "f1": 0.0})


@ENGINES
def test_a_missing_value_is_a_side_of_its_own(engine):
    features, target = step()
    features[:4, 0] = np.nan

    booster = fit(replace(PLAIN, engine=engine), features, target)

    np.testing.assert_allclose(booster.predict(features), target, atol=1e-3)  # XGBoost ends at gains of 1e-6


@ENGINES
def test_rounds_that_worsen_the_held_out_rows_are_dropped(engine):
    features, target = step(16)
    held_out = np.arange(16) % 4 == 0
    against = np.where(held_out, -target, target)
    config = replace(PLAIN, engine=engine)

    assert fit(config, features, against, held_out).rounds == 1
    assert fit(config, features, target, held_out).rounds > 10


@ENGINES
def test_held_out_rows_decide_no_split_and_no_leaf(engine):
    features, target = noisy()
    held_out = np.arange(300) % 3 == 0
    features[held_out] += 0.3  # other quantiles, too
    config = replace(DRAWN, engine=engine)

    stopped = fit(config, features, np.where(held_out, target**2, target), held_out)
    alone = fit(replace(config, rounds=stopped.rounds), features[~held_out], target[~held_out])

    assert stopped.rounds > 2
    np.testing.assert_array_equal(stopped.predict(features), alone.predict(features))


@pytest.mark.parametrize(
    ("engine", "change"),
    [
        *[
            pytest.param(engine, change, id=f"{engine} {next(iter(change))}")
            for engine in ("xgboost", "catboost")
            for change in ({"subsample": 0.5}, {"colsample_bytree": 0.3}, {"max_depth": 1}, {"reg_lambda": 50.0})
        ],
        pytest.param("xgboost", {"gamma": 100.0}, id="xgboost gamma"),
        pytest.param("xgboost", {"min_child_weight": 50.0}, id="xgboost min_child_weight"),
        pytest.param("xgboost", {"reg_alpha": 50.0}, id="xgboost reg_alpha"),
    ],
)
def test_each_parameter_reaches_its_engine(engine, change):
    features, target = noisy()
    config = replace(PLAIN, engine=engine, rounds=3)

    plain, changed = (fit(c, features, target).predict(features) for c in (config, replace(config, **change)))

    assert not np.allclose(plain, changed)


@ENGINES
def test_boosters_together_predict_as_each_alone_whatever_they_read(engine):
    features, target = noisy()
    names = [f"f{k}" for k in range(features.shape[1])]
    table = pd.DataFrame(features, columns=names)
    orders = [names, names, names[::-1], names[1:]]
    boosters = [fit(replace(PLAIN, engine=engine), table[order], target) for order in orders]

    together = boosting.predict(boosters, table)

    np.testing.assert_array_equal(together, np.column_stack([booster.predict(table) for booster in boosters]))
    np.testing.assert_array_equal(together[:, 0], boosters[0].predict(features))


@ENGINES
def test_many_rows_are_predicted_as_few(engine):
    features, target = noisy()
    table = pd.DataFrame(features)
    boosters = [fit(replace(DRAWN, engine=engine), features, target * k) for k in (1, 2, 3)]
    boosters = [replace(booster, feature_names=tuple(table)) for booster in boosters]
    many = pd.concat([table] * 4)  # enough for several threads

    np.testing.assert_array_equal(boosting.predict(boosters, many), np.tile(boosting.predict(boosters, table), (4, 1)))


@ENGINES
def test_threads_that_ask_a_loaded_booster_for_the_first_time_at_once_are_all_answered(engine, tmp_path):
    features, target = noisy()
    booster = fit(replace(DRAWN, engine=engine), features, target)
    path = tmp_path / f"booster{booster.suffix}"
    booster.save(path)
    expected = booster.predict(features[:6])

    with ThreadPoolExecutor(8) as threads:
        for _ in range(30):
            loaded, together = boosting.Booster.load(path), threading.Barrier(8)

            def ask(_, loaded=loaded, together=together):
                together.wait()
                return [loaded.predict(features[:6]) for _ in range(5)]

            for answers in threads.map(ask, range(8)):
                np.testing.assert_array_equal(answers, [expected] * 5)


@ENGINES
def test_the_same_seed_repeats_bit_by_bit_and_another_does_not(engine):
    features, target = noisy()
    config = replace(DRAWN, engine=engine)

    first, again, other = (fit(config, features, target, seed=seed).predict(features) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@ENGINES
def test_a_row_does_not_depend_on_its_neighbours(engine):
    features, target = noisy()
    booster = fit(replace(DRAWN, engine=engine), features, target)

    together = booster.predict(features)
    one_by_one = np.concatenate([booster.predict(features[[i]]) for i in range(50)])

    np.testing.assert_array_equal(together[:50], one_by_one)
    np.testing.assert_array_equal(together[::-1], booster.predict(features[::-1]))
    assert together.dtype == np.float64
    assert booster.predict(features[:0]).shape == (0,)


@ENGINES
def test_a_saved_booster_predicts_the_same(engine, tmp_path):
    features, target = noisy()
    table = pd.DataFrame(features, columns=["v Ego", "light=red", "svd_0", "p:x_0"])
    held_out = np.arange(300) % 3 == 0
    booster = fit(replace(DRAWN, engine=engine), table, target, held_out)
    path = tmp_path / f"x_0{booster.suffix}"

    booster.save(path)
    loaded = Booster.load(path)

    assert loaded.feature_names == tuple(table.columns)
    assert loaded.rounds == booster.rounds
    np.testing.assert_array_equal(loaded.predict(table), booster.predict(table))
    pd.testing.assert_series_equal(loaded.feature_importance(), booster.feature_importance())


@ENGINES
def test_targets_fitted_together_equal_targets_fitted_alone(engine):
    features, target = noisy()
    targets = np.stack([target, -target, np.full(300, 7.0)], axis=1)
    held_out = np.arange(300) % 3 == 0
    config, done = replace(DRAWN, engine=engine), []

    together = boosting.fit_targets(config, features, targets, held_out, seed=0, threads=1, on_booster=done.append)

    assert done == [0, 1, 2]
    for k, booster in enumerate(together[:2]):
        alone = fit(config, features, targets[:, k], held_out)
        np.testing.assert_array_equal(booster.predict(features), alone.predict(features))
    np.testing.assert_allclose(together[2].predict(features), 7.0)  # a constant target is an ordinary case
    assert together[2].feature_importance().sum() == 0


def test_xgboost_grows_the_same_trees_in_a_quarter_of_the_memory(monkeypatch):
    features, target = noisy(2000)
    config = replace(DRAWN, max_depth=9, rounds=3)

    kept = fit(config, features, target).predict(features)
    monkeypatch.setattr(engines, "_HISTOGRAMS_BYTES", 4 * 256 * 16)  # one node's
    forgotten = fit(config, features, target).predict(features)

    np.testing.assert_array_equal(forgotten, kept)


@pytest.mark.parametrize(
    ("engine", "max_depth", "expected_bytes"),
    [
        # 43,371 x 400 bytes, and 512 nodes with 400 x 256 bins of 16 bytes; measured: 0.85 GB.
        pytest.param("xgboost", 11, 43_371 * 400 + 512 * 400 * 256 * 16, id="deep trees"),
        pytest.param("xgboost", 4, 43_371 * 400 + 2**28, id="shallow trees"),
        pytest.param("catboost", 4, 4e9, id="a limit"),
    ],
)
def test_memory_is_bounded(engine, max_depth, expected_bytes):
    config = GbdtConfig(learning_rate=0.1, rounds=1, engine=engine, max_depth=max_depth)

    assert boosting.most_bytes(config, 43_371, 400) == expected_bytes


@ENGINES
def test_columns_are_found_by_name(engine):
    features, target = noisy()
    table = pd.DataFrame(features, columns=list("abcd"))
    booster = fit(replace(PLAIN, engine=engine), table, target)

    np.testing.assert_array_equal(booster.predict(table[list("dcba")].assign(extra=1.0)), booster.predict(features))
    assert booster.feature_importance().idxmax() == "a"
    with pytest.raises(ValueError, match="expected 4 features, found none called b"):
        booster.predict(table.drop(columns="b"))


@ENGINES
def test_the_published_depth_is_accepted_by_both(engine):
    features, target = step()

    assert fit(GbdtConfig(learning_rate=0.1, rounds=1, engine=engine), features, target).rounds == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"features": np.full((8, 2), np.inf, np.float32)}, "infinity in f0, f1", id="infinite feature"),
        pytest.param({"target": np.full(8, np.nan)}, "finite targets, found 8 others", id="missing target"),
        pytest.param({"target": np.zeros(7)}, r"8 rows of targets, found \(7, 1\)", id="lengths differ"),
        pytest.param({"held_out": np.ones(8, bool)}, "both sides of held_out, found 8 of 8", id="nothing to fit"),
        pytest.param({"held_out": np.zeros(8, bool)}, "both sides of held_out, found 0 of 8", id="nothing held out"),
        pytest.param({"held_out": np.arange(8)}, "8 booleans", id="rows instead of a mask"),
    ],
)
def test_tables_that_cannot_be_fitted_are_refused(change, message):
    features, target = step()

    with pytest.raises(ValueError, match=message):
        fit(PLAIN, **{"features": features, "target": target, **change})


def test_repeated_feature_names_are_refused():
    features, target = step()

    with pytest.raises(ValueError, match="each feature once, found repeated v"):
        fit(PLAIN, pd.DataFrame(features, columns=["v", "v"]), target)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="xgboost, catboost, both, found 'lightgbm'"):
        GbdtConfig(learning_rate=0.1, rounds=1, engine="lightgbm")


def test_an_unknown_file_is_refused(tmp_path):
    features, target = step()
    with pytest.raises(ValueError, match=r"\.ubj or \.cbm, found model\.pkl"):
        Booster.load(tmp_path / "model.pkl")
    with pytest.raises(ValueError, match=r"ending in \.ubj, found x_0\.cbm"):
        fit(PLAIN, features, target).save(tmp_path / "x_0.cbm")


def test_arguments_are_left_as_they_were():
    features, target = noisy()
    held_out = np.arange(300) % 3 == 0
    before = features.copy(), target.copy(), held_out.copy()

    fit(DRAWN, features, target, held_out)

    for now, then in zip((features, target, held_out), before, strict=True):
        np.testing.assert_array_equal(now, then)
