"""Fixtures for all tests: small drives, and a store and a cache separate from the user's."""

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
    """Remove the environment variables of `mlflow run`, except those that silence MLflow."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_") and name not in tracking.QUIET:
            patch.delenv(name)


def enter(store, patch):
    """Put the store, the cache and the working directory into a folder."""
    patch.setenv("MLFLOW_TRACKING_URI", store_uri(store))
    patch.setenv("ATMA18_CACHE", f"{store}/cache")
    patch.chdir(store)


@pytest.fixture(autouse=True)
def no_caller(monkeypatch, tmp_path):
    """Hide the user's MLflow store and cache, which `mlflow run` passes on."""
    forget_caller(monkeypatch)
    monkeypatch.setenv("ATMA18_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def one_thread():
    """Use one thread, because the nets are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small_backbone():
    """Add the kind of backbone `small`: a convolution with batch-norm, which trains fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.KINDS, "small", SmallKind())
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A dataset folder of a few simulated drives; tests must not change it, but may copy it."""
    folder = tmp_path_factory.mktemp("drives") / "tiny"
    simulate.write_drives(folder, simulate.Plan(TRAIN_SCENES, TEST_SCENES, seed=1))
    return folder


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory) -> Cache:
    """A cache that all tests share."""
    return Cache.open(tmp_path_factory.mktemp("shared-cache"))


@pytest.fixture(scope="session")
def tiny(tiny_folder, tiny_cache) -> Dataset:
    """The dataset in `tiny_folder`."""
    return Dataset.open(str(tiny_folder), tiny_cache)


@pytest.fixture(scope="session")
def finished(tiny_folder, tmp_path_factory):
    """A store with one finished `main` on the tiny drives."""
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(store, patch)
        done = call(main, f"--data={tiny_folder}", *SHORT, "--out=main.csv")
        ran(done)
    return SimpleNamespace(store=store, data=f"--data={tiny_folder}", stdout=done.output)


@pytest.fixture
def there(finished, no_caller, monkeypatch):
    """The store of the finished `main`, in use for this test; a test may add runs, but not damage existing ones."""
    enter(finished.store, monkeypatch)
    return finished


@pytest.fixture(scope="module")
def module_patch(finished):
    """The store of the finished `main`, for fixtures with module scope."""
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(finished.store, patch)
        yield patch
