"""The champion behind `mlflow models serve`: answers as stored, and says what is wrong with a request."""

import base64
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from atma18.schema import TARGETS
from tests.server import free_port, wait_for
from tests.store import BIN, PROJECT, SYSTEM_PATH, artifacts, first, version_of

CHAMPION = "models:/atma18-blend@champion"
JSON = "application/json"


@pytest.fixture(scope="module")
def finished(finished_lite0):
    """What other processes than this one can load."""
    return finished_lite0


@pytest.fixture(scope="module")
def scene(finished, tiny_folder, tmp_path_factory):
    """The request that the lines of docs/serving.md make of a dataset folder."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "drives").symlink_to(tiny_folder)
    [lines] = [
        b for b in re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "serving.md").read_text(), re.S) if "b64" in b
    ]
    subprocess.run([sys.executable, "-c", lines], cwd=folder, check=True)
    return folder / "scene.json"


@pytest.fixture(scope="module")
def service(finished, module_patch, tmp_path_factory):
    """A server of the champion, started outside the project's folder, without pickle."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    number = version_of("blend", first("blend"))
    MlflowClient().set_registered_model_alias("atma18-blend", "champion", str(number))
    activated = {"PATH": f"{BIN}:{SYSTEM_PATH}"}  # `mlflow models` looks for uvicorn there
    environment = os.environ | activated | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    words = ["models", "serve", "-m", CHAMPION, "--env-manager", "local", "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-m", "mlflow", *words], cwd=folder, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/ping", process)
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}/invocations", environment=environment, folder=folder)
    finally:
        process.terminate()
        process.wait()
        MlflowClient().delete_registered_model_alias("atma18-blend", "champion")


def ask(service, body, content_type=JSON):
    """Return the status and the text of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urlopen(Request(service.url, data, {"Content-Type": content_type})) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def assert_as_stored(predictions, request):
    answered = pd.DataFrame(predictions)
    ids = [row[0] for row in request["dataframe_split"]["data"]]
    assert answered["ID"].tolist() == ids
    stored = pd.read_parquet(artifacts(first("blend")) / "predictions" / "test.parquet").set_index("ID").loc[ids]
    np.testing.assert_allclose(answered[list(TARGETS)], stored[list(TARGETS)], rtol=0, atol=1e-4)


def test_a_scene_is_answered_as_stored(there, service, scene):
    request = json.loads(scene.read_text())

    status, text = ask(service, request)

    assert status == 200
    assert len(request["dataframe_split"]["data"]) > 1
    assert_as_stored(json.loads(text)["predictions"], request)


def changed(request, column, value):
    """The same request with another value in the first row."""
    at = request["dataframe_split"]["columns"].index(column)
    first_row, *others = request["dataframe_split"]["data"]
    rows = [[*first_row[:at], value, *first_row[at + 1 :]], *others]
    return {"dataframe_split": request["dataframe_split"] | {"data": rows}}


def without(request, column):
    at = request["dataframe_split"]["columns"].index(column)
    split = request["dataframe_split"]
    rows = [[*row[:at], *row[at + 1 :]] for row in split["data"]]
    return {"dataframe_split": {"columns": [*split["columns"][:at], *split["columns"][at + 1 :]], "data": rows}}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda r: without(r, "aEgo"), ["missing inputs", "aEgo"], id="a signal is missing"),
        pytest.param(lambda r: without(r, "image_t"), ["missing inputs", "image_t"], id="a frame is missing"),
        pytest.param(
            lambda r: changed(r, "image_t-0.5", base64.b64encode(b"\x89PNG\r\n\x1a\n broken").decode()),
            ["image_t-0.5: expected a whole PNG image"],
            id="a broken PNG",
        ),
        pytest.param(
            lambda r: {"dataframe_split": r["dataframe_split"] | {"data": []}},
            ["expected an ID like", "found nan"],
            id="an index and no samples",
        ),
        pytest.param(
            lambda r: {"dataframe_split": {"columns": r["dataframe_split"]["columns"], "data": []}},
            ["expected at least one row"],
            id="no samples",
        ),
        pytest.param(lambda r: changed(r, "ID", "no-time"), ["expected an ID like"], id="an ID without a time"),
        pytest.param(
            lambda r: changed(r, "vEgo", None), ["expected a finite number", "in vEgo, found"], id="a hole in a signal"
        ),
        pytest.param(
            lambda r: changed(r, "image_t", None), ["/image_t: expected the bytes of a PNG file"], id="no frame"
        ),
        pytest.param(
            lambda r: changed(r, "traffic_lights", "{"), ["traffic_lights: expected a JSON list"], id="broken lights"
        ),
        pytest.param(
            lambda r: changed(r, "gearShifter", "sixth"),
            ["expected one of drive", "in gearShifter, found", "= 'sixth'"],
            id="no such gear",
        ),
        pytest.param(lambda r: b"{", ["valid JSON"], id="no JSON"),
    ],
)
def test_a_wrong_request_gets_400_and_is_told_why(there, service, scene, spoil, said):
    request = json.loads(scene.read_text())

    status, text = ask(service, spoil(request))

    assert status == 400
    message = json.loads(text)["message"]
    assert [words for words in said if words not in message] == [], message
    assert_as_stored(json.loads(ask(service, request)[1])["predictions"], request)  # it serves on


FLAGS = ("brakePressed", "gasPressed", "leftBlinker", "rightBlinker")


def rows_of(request):
    split = request["dataframe_split"]
    return [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]


def in_split(rows):
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def in_records(rows):
    return {"dataframe_records": rows}


def in_instances(rows):
    return {"instances": rows}


def in_inputs(rows):
    return {"inputs": {name: [row[name] for row in rows] for name in rows[0]}}


FORMATS = [in_split, in_records, in_instances, in_inputs]


SPELT = [str, lambda flag: str(flag).upper(), int, float, lambda flag: str(int(flag)), bool]


@pytest.mark.parametrize("form", FORMATS)
def test_a_flag_means_what_it_says_in_every_form(there, service, scene, form):
    """Each row spells its flags in another way, and each flag is spelt in several ways."""
    request = json.loads(scene.read_text())
    asked = rows_of(request)
    assert len(asked) == len(SPELT)
    rows = [
        row | {flag: SPELT[(i + k) % len(SPELT)](row[flag]) for k, flag in enumerate(FLAGS)}
        for i, row in enumerate(asked)
    ]

    status, text = ask(service, form(rows))

    assert status == 200, text
    assert_as_stored(json.loads(text)["predictions"], request)


NO_FLAGS = [None, 2, 0.3, -1, "no", "", {"pressed": True}]


@pytest.mark.parametrize(
    ("form", "value"),
    [*((in_records, value) for value in NO_FLAGS), *((form, "no") for form in FORMATS), (in_inputs, None)],
)
def test_what_is_no_flag_is_refused_naming_column_and_sample(there, service, scene, form, value):
    rows = rows_of(json.loads(scene.read_text()))
    rows[1]["gasPressed"] = value

    status, text = ask(service, form(rows))

    assert status == 400
    message = json.loads(text)["message"]
    assert f"expected true or false in gasPressed, found {rows[1]['ID']} = " in message
    assert "\n" not in message


def test_columns_of_parquet_may_be_whole_numbers(there, service, scene, tmp_path):
    request = json.loads(scene.read_text())
    table = pd.DataFrame(rows_of(request)).astype(dict.fromkeys(FLAGS, "int64"))
    table.to_parquet(tmp_path / "scene.parquet")

    status, text = ask(service, (tmp_path / "scene.parquet").read_bytes(), "application/vnd.apache.parquet")

    assert status == 200, text
    assert_as_stored(json.loads(text)["predictions"], request)


def test_csv_is_refused_in_one_line(there, service, scene):
    csv = pd.DataFrame(rows_of(json.loads(scene.read_text()))).to_csv(index=False)

    status, text = ask(service, csv.encode(), "text/csv")

    assert status == 415
    assert "application/json" in json.loads(text)["message"]


def test_a_sample_outside_the_trained_range_is_told_by_a_field_and_a_header(there, service, scene):
    request = changed(json.loads(scene.read_text()), "vEgo", 99)
    with urlopen(Request(service.url, json.dumps(request).encode(), {"Content-Type": JSON})) as response:
        rows = json.loads(response.read())["predictions"]
        header = response.headers["X-Outside-Training-Range"]

    assert "vEgo" in rows[0]["outside_training_range"].split(", ")
    assert header == str(sum(row["outside_training_range"] != "" for row in rows))


def test_another_kind_of_content_is_refused(there, service, scene):
    assert ask(service, scene.read_bytes(), "text/plain")[0] == 415


def test_clients_at_the_same_time_get_the_same_answers(there, service, scene):
    request = json.loads(scene.read_text())
    alone = ask(service, request)

    with ThreadPoolExecutor(4) as clients:
        together = list(clients.map(lambda _: ask(service, request), range(8)))

    assert together == [alone] * 8


def test_mlflow_answers_a_file_without_a_server(there, service, scene):
    words = ["models", "predict", "-m", CHAMPION, "--env-manager", "local", "-i", str(scene), "-t", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *words],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    answer = next(line for line in done.stdout.splitlines() if line.startswith('{"predictions"'))
    assert_as_stored(json.loads(answer)["predictions"], json.loads(scene.read_text()))
