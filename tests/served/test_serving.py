"""Every step's registered model reproduces its stored predictions from raw frames, for a row in any batch."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from atma18.schema import TARGETS
from tests.store import STEPS, artifacts, first, version_of

ASK = """
import sys
import mlflow, pandas as pd

assert not any(name.split(".")[0] == "atma18" for name in sys.modules)
for uri in sys.argv[1:]:
    model = mlflow.pyfunc.load_model(uri)
    for name in ("all", "scene", "reversed", "typed"):
        request = pd.read_parquet(f"{name}.parquet")
        answer = model.predict(request)
        assert answer.index.equals(request.index)
        answer.to_parquet(f"{uri.split('/')[1]}-{name}.parquet")
import atma18
print(atma18.__file__)
"""


@pytest.fixture(scope="module")
def finished(finished_lite0):
    """What other processes than this one can load."""
    return finished_lite0


def raw(folder):
    """What a service would get of every test sample: signals, PNG bytes and the lights' JSON text."""
    request = pd.read_csv(folder / "test_features.csv")
    for column in ("image_t", "image_t-0.5", "image_t-1.0"):
        request[column] = [(folder / "images" / i / f"{column}.png").read_bytes() for i in request["ID"]]
    request["traffic_lights"] = [(folder / "traffic_lights" / f"{i}.json").read_text() for i in request["ID"]]
    return request


@pytest.fixture(scope="module")
def answers(finished, tiny, module_patch, tmp_path_factory):
    """What each step's version answers in a fresh process outside the project, without pickle."""
    folder = tmp_path_factory.mktemp("client")
    request = raw(tiny.folder)
    scenes = request["ID"].str.rsplit("_", n=1).str[0]
    one = request[scenes == scenes.value_counts().index[0]]  # the largest
    assert len(one) > 1
    request.sample(frac=1, random_state=0).to_parquet(folder / "all.parquet")
    one.to_parquet(folder / "scene.parquet")
    one[::-1].to_parquet(folder / "reversed.parquet")
    other_types = {"brakePressed": "int64", "gasPressed": "float32", "leftBlinker": object, "gearShifter": "category"}
    one.astype(other_types).assign(rightBlinker=one["rightBlinker"].astype(str)).to_parquet(folder / "typed.parquet")
    uris = [f"models:/atma18-{step}/{version_of(step, first(step))}" for step in STEPS]
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", ASK, *uris], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(finished.store) in done.stdout  # the code came with the model
    return folder


@pytest.mark.parametrize("asked", ["all", "scene", "reversed", "typed"])
@pytest.mark.parametrize("step", STEPS)
def test_a_served_row_is_the_stored_one(there, answers, step, asked):
    stored = pd.read_parquet(artifacts(first(step)) / "predictions" / "test.parquet").set_index("ID")[list(TARGETS)]
    served = pd.read_parquet(answers / f"atma18-{step}-{asked}.parquet")

    assert served["ID"].tolist() == pd.read_parquet(answers / f"{asked}.parquet")["ID"].tolist()
    expected = stored.loc[served["ID"]].to_numpy()
    np.testing.assert_allclose(served[list(TARGETS)].to_numpy(), expected, rtol=0, atol=1e-4)
