"""Backbones from other people's files work in embed, nn1 and nn2, and are served without these files."""

import hashlib
import re
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from torchvision import models

from atma18 import simulate
from atma18.bundle import servable
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.schema import TARGETS
from atma18.tracking import named_run
from steps import embed, nn1, nn2
from tests.fixtures import enter
from tests.pretrained import FAMILIES, hub_folder, mmdet_file, resnet50
from tests.store import artifacts, call, newest, ran

STEPS = {"embed": embed, "nn1": nn1, "nn2": nn2}


def torchvision_file(folder):
    torch.manual_seed(0)
    torch.save(models.mobilenet_v3_small(weights=None).state_dict(), folder / "mine.pth")
    return f"torchvision:mobilenet_v3_small@{folder}/mine.pth", folder / "mine.pth"


def detector_file(folder):
    return f"rsud20k:{folder}/detr.pth", mmdet_file(folder / "detr.pth", resnet50())


def hub(family, folder):
    hub_folder(family, folder)
    return f"hf:{folder}", folder / "model.safetensors"


KINDS = {"torchvision": torchvision_file, "rsud20k": detector_file}
KINDS |= {family: lambda folder, family=family: hub(family, folder) for family in FAMILIES}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One store and one cache, for a new one takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Drives that the larger backbones soon have seen."""
    simulate.write_drives(folder := tmp_path_factory.mktemp("few") / "drives", simulate.Plan(8, 2, seed=1))
    return folder


@pytest.fixture
def inside(store, no_caller, monkeypatch):
    """This test in the store."""
    enter(store, monkeypatch)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("kind", KINDS)
def test_a_backbone_of_others_is_trained_and_served_without_its_file(kind, few, tmp_path):
    cache = Cache.open()
    test = Dataset.open(str(few), cache).test
    (tmp_path / "source").mkdir()
    name, file = KINDS[kind](tmp_path / "source")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    given = [f"--data={few}", f"--backbone={name}", "--folds=2"]

    words = {"embed": [], "nn1": ["--num_epochs=1"], "nn2": ["--num_epochs=1"]}
    if kind == "rsud20k":  # the whole of it is trained in nn1, which takes long enough
        words["nn2"] += ["--stage=head", "--init=nn1"]
    said = {step: ran(call(of, *given, *words[step])) for step, of in STEPS.items()}
    shutil.rmtree(tmp_path / "source")

    for step in STEPS:
        run = newest(step)
        assert sha256 in said[step] and sha256 in run.data.tags["atma18.backbone"]
        assert run.data.metrics["parameters/all"] >= run.data.metrics["parameters/backbone"] > 1000
        served = servable.load(named_run(f"models:/atma18-{step}@candidate", cache).bundle, "cpu").predict(test)
        stored = pd.read_parquet(artifacts(run) / "predictions" / "test.parquet").set_index("ID")[list(TARGETS)]
        np.testing.assert_array_equal(served, stored.loc[test.ids])
    needed = Path(mlflow.pyfunc.get_model_dependencies("models:/atma18-nn2@candidate")).read_text()
    assert ("transformers==" in needed) == (kind in FAMILIES)
    assert newest("embed").data.metrics["parameters/trained"] == 0
    assert newest("nn1").data.metrics["parameters/trained"] == newest("nn1").data.metrics["parameters/all"]
    assert MlflowClient().get_model_version_by_alias("atma18-nn2", "candidate").run_id == newest("nn2").info.run_id


@pytest.mark.usefixtures("inside")
def test_the_size_that_is_told_is_that_of_what_is_stored(few, tmp_path):
    hub_folder("dinov2", tmp_path / "source")
    given = [f"--data={few}", f"--backbone=hf:{tmp_path}/source", "--folds=2", "--num_epochs=1"]

    said = ran(call(nn1, *given))

    [stored_mb] = re.findall(r"servable of ([\d.]+) MB", said)
    run = newest("nn1")
    bundle = named_run("models:/atma18-nn1@candidate", Cache.open()).bundle
    [graph] = (bundle / "objects").glob("*.onnx")
    parameters_mb = float(stored_mb) - graph.stat().st_size / 1e6
    assert parameters_mb == pytest.approx(run.data.metrics["parameters/stored_mb"], abs=0.06)
