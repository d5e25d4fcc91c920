"""Small drives for all tests, and a wall between the tests and the caller's store and cache."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from atma18 import backbones, simulate, tracking
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from steps import main
from tests.small import SmallKind
from tests.store import SHORT, call, ran, store_uri

TRAIN_SCENES, TEST_SCENES = 12, 5


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


@pytest.fixture(scope="module")
def one_thread():
    """Leave the other cores alone where nets are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small_backbone():
    """Know one more kind of backbone, `small`: a convolution with batch-norm, which trains in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.KINDS, "small", SmallKind())
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A dataset folder of a few simulated drives; read-only for tests: copy it to change it."""
    folder = tmp_path_factory.mktemp("drives") / "tiny"
    simulate.write_drives(folder, simulate.Plan(TRAIN_SCENES, TEST_SCENES, seed=1))
    return folder


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory) -> Cache:
    """A cache that tests share."""
    return Cache.open(tmp_path_factory.mktemp("shared-cache"))


@pytest.fixture(scope="session")
def tiny(tiny_folder, tiny_cache) -> Dataset:
    """The same drives, read."""
    return Dataset.open(str(tiny_folder), tiny_cache)


@pytest.fixture(scope="session")
def finished(tiny_folder, tmp_path_factory):
    """One `main` on the tiny drives in a store of its own."""
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(store, patch)
        done = call(main, f"--data={tiny_folder}", *SHORT, "--out=main.csv")
        ran(done)
    return SimpleNamespace(store=store, data=f"--data={tiny_folder}", stdout=done.output)


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
