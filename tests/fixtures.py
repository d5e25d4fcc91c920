"""Small drives for all tests, a finished `main`, and a wall between the tests and the caller's store and cache.

What takes long and is only read is made once for all processes that run tests at the same time; whoever changes a store
gets a copy of his own.
"""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from filelock import FileLock

from atma18 import backbones, simulate, tracking
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.tracking import runs
from steps import main
from tests import figures
from tests.small import SmallKind
from tests.store import FAST, SHORT, SMALL, call, clone_store, ran, store_uri

TRAIN_SCENES, TEST_SCENES = 12, 5
LIFT_M = 30.0
COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""What the finished `main` takes for the commit of its code."""


def forget_caller(patch):
    """Remove what `mlflow run` hands down; only what keeps MLflow quiet stays."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_") and name not in tracking.QUIET:
            patch.delenv(name)


def enter(store, patch):
    """Make a folder the place of the store, the cache and what steps write."""
    patch.setenv("MLFLOW_TRACKING_URI", store_uri(store))
    patch.setenv("ATMA18_CACHE", f"{store}/cache")
    patch.chdir(store)


@pytest.fixture(autouse=True)
def no_caller(monkeypatch, tmp_path):
    """Hide the caller's MLflow and cache: under `mlflow run` both are inherited."""
    forget_caller(monkeypatch)
    monkeypatch.setenv("ATMA18_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def undrawn():
    """Figures are drawn in other processes, and where a test asks for it."""
    with figures.undrawn():
        yield


@pytest.fixture
def drawn(undrawn):
    """Draw the figures of a test."""
    with figures.drawn():
        yield


@pytest.fixture(scope="module")
def small_backbone():
    """Know one more kind of backbone, `small`: a convolution with batch-norm, which trains in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.KINDS, "small", SmallKind())
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Makes a folder for all processes that run tests, and returns it; whoever comes at the same time waits."""
    base = tmp_path_factory.getbasetemp()
    ours = base if "PYTEST_XDIST_WORKER" not in os.environ else base.parent
    shared = Path(os.environ.get("ATMA18_TESTS_SHARED", ours))

    def get(name, make):
        folder, done = shared / name, shared / f"{name}.done"
        with FileLock(shared / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def tiny_folder(made_once) -> Path:
    """A dataset folder of a few simulated drives; read-only for tests: copy it to change it."""
    plan = simulate.Plan(TRAIN_SCENES, TEST_SCENES, seed=1)
    return made_once("tiny", lambda folder: simulate.write_drives(folder, plan))


@pytest.fixture(scope="session")
def lifted_folder(made_once, tiny_folder) -> Path:
    """The tiny drives with every waypoint 30 m higher: all steps learn that at once, but no motion model can."""

    def make(folder):
        shutil.copytree(tiny_folder, folder)
        for name in ("train_features.csv", "test_targets.csv"):
            table = pd.read_csv(folder / name, dtype=str, keep_default_na=False)
            heights = [column for column in table if column.startswith("z_")]
            table[heights] = table[heights].astype(float) + LIFT_M
            table.to_csv(folder / name, index=False)

    return made_once("lifted", make)


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory) -> Cache:
    """A cache that tests share."""
    return Cache.open(tmp_path_factory.mktemp("shared-cache"))


@pytest.fixture(scope="session")
def tiny(tiny_folder, tiny_cache) -> Dataset:
    """The same drives, read."""
    return Dataset.open(str(tiny_folder), tiny_cache)


@pytest.fixture(scope="session")
def main_once(tiny_folder, made_once):
    """Makes a store with one `main`, on the tiny drives unless others are given, once for all; nobody may change it."""

    def get(name, *words, data=tiny_folder):
        def make(store):
            store.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                forget_caller(patch)
                enter(store, patch)
                patch.setattr(runs, "git_state", lambda: COMMIT)
                done = call(main, f"--data={data}", *words, *SHORT, "--out=main.csv")
            ran(done)
            (store / "stdout").write_text(done.stdout)
            (store / "said").write_text(done.output)

        return made_once(name, make)

    return get


@pytest.fixture(scope="module")
def finished(small_backbone, main_once, tiny_folder, tmp_path_factory):
    """A `main` on the tiny drives with the small backbone, in a store for the tests of one file."""
    return copied(main_once("finished", SMALL), tiny_folder, tmp_path_factory)


@pytest.fixture(scope="module")
def finished_lite0(main_once, tiny_folder, tmp_path_factory):
    """The same with the bundled backbone and its figures drawn, for tests with processes that know no small one."""
    with figures.drawn():
        return copied(main_once("finished-lite0"), tiny_folder, tmp_path_factory)


@pytest.fixture(scope="module")
def finished_lifted(main_once, lifted_folder, tmp_path_factory):
    """A `main` whose blend beats the motion model by far, for tests with processes that know no small backbone."""
    return copied(main_once("finished-lifted", FAST, data=lifted_folder), lifted_folder, tmp_path_factory)


def copied(store, data, factory):
    """Return a copy of a store, what its `main` read and answered, and all that it said meanwhile."""
    copy = clone_store(store, factory.mktemp("store"))
    told = {name: (copy / name).read_text() for name in ("stdout", "said")}
    return SimpleNamespace(store=copy, data=f"--data={data}", **told)


@pytest.fixture
def there(finished, no_caller, monkeypatch):
    """The finished `main`, and this test inside its store; tests may add runs but not harm what is there."""
    enter(finished.store, monkeypatch)
    return finished


@pytest.fixture(scope="module")
def module_patch(finished):
    """The finished `main`'s store, for fixtures that a module makes once."""
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(finished.store, patch)
        yield patch
