"""The service follows the champion: every answer is whole, names the version that made it, and is this one's."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Event
from types import SimpleNamespace
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from pyarrow import ipc

from atma18.schema import TARGETS
from atma18.serving.arrow import CONTENT_TYPE as ARROW
from atma18.serving.request_rows import raw_rows
from benchmarks.serving import request
from steps import blend
from tests.server import free_port, wait_for
from tests.store import PROJECT, artifacts, call, newest, put_back, ran, version_of

BLEND = "atma18-blend"
CLIENTS = 4
LONGEST_CHANGE_S = 10


@pytest.fixture(scope="module")
def finished(finished_lifted):
    """What other processes than this one can load."""
    return finished_lifted


@pytest.fixture(scope="module")
def stored(finished, module_patch):
    """The predictions of three versions, by number: `main`'s blend, and blends of one input."""
    found = {}
    for inputs in ("all", "embed", "nn1"):
        if inputs != "all":
            ran(call(blend, finished.data, f"--inputs={inputs}"))
        run = newest("blend")
        table = pd.read_parquet(artifacts(run) / "predictions" / "test.parquet").set_index("ID")
        found[int(version_of("blend", run))] = table[list(TARGETS)]
    assert sorted(found) == [1, 2, 3]
    return found


def make_champion(number):
    MlflowClient().set_registered_model_alias(BLEND, "champion", str(number))


def start(folder, *words):
    """Start the service in an empty folder; return the process and its port."""
    port = free_port()
    command = [sys.executable, "-m", "steps.serve", f"--port={port}", *words]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with (folder / "log").open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    return process, port


@pytest.fixture(scope="module")
def service(stored, tiny, tmp_path_factory):
    """A service that follows the champion, and a scene to ask it for."""
    make_champion(1)
    folder = tmp_path_factory.mktemp("service")
    process, port = start(folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/ready", process)
        sizes = pd.Series(tiny.test.scenes).value_counts()
        scene = tiny.test.take(np.flatnonzero(tiny.test.scenes == sizes.index[0]))
        body = request(scene, tiny.folder)
        yield SimpleNamespace(port=port, process=process, log=folder / "log", scene=scene, body=body)
    finally:
        process.terminate()
        process.wait()


def ask(service, body=None, path="/invocations", **headers):
    """Return status, headers and JSON of the answer."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    try:
        connection.request("POST", path, body or service.body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), json.loads(answer.read())
    finally:
        connection.close()


def look(service, path):
    with urlopen(f"http://127.0.0.1:{service.port}{path}") as answer:
        return answer.read().decode()


def state(service, path="/health"):
    return json.loads(look(service, path))


def change_to(service, number):
    """Move the alias, and return the seconds until an answer is the new version's."""
    make_champion(number)
    began_s = time.monotonic()
    while ask(service)[2]["model"]["version"] != number:
        assert time.monotonic() - began_s < LONGEST_CHANGE_S
    return time.monotonic() - began_s


def assert_of_its_version(answer, service, stored):
    version = answer["model"]["version"]
    found = pd.DataFrame(answer["predictions"]).set_index("ID")[list(TARGETS)]
    assert found.index.tolist() == service.scene.ids.tolist()
    np.testing.assert_allclose(found, stored[version].loc[service.scene.ids.tolist()], rtol=0, atol=1e-4)


def test_an_answer_names_its_version_its_run_and_its_request(there, service, stored):
    make_champion(1)
    status, headers, answer = ask(service, **{"X-Request-ID": "ticket-7"})

    assert status == 200
    assert answer["model"]["name"] == BLEND
    assert answer["model"]["run_id"] == MlflowClient().get_model_version(BLEND, "1").run_id
    assert answer["request_id"] == headers["x-request-id"] == "ticket-7"
    assert headers["x-outside-training-range"] == "0"
    assert [row["outside_training_range"] for row in answer["predictions"]] == [""] * len(service.scene)
    assert_of_its_version(answer, service, stored)
    assert ask(service, **{"X-Request-ID": 'a"b'})[1]["x-request-id"] != 'a"b'


def test_promotions_and_rollbacks_reach_clients_and_no_answer_is_lost_or_mixed(there, service, stored):
    far_m = float(np.abs(stored[1] - stored[2]).to_numpy().max())
    assert far_m > 1e-2, "else the versions cannot be told apart"
    over, answers = Event(), []

    def client(_):
        while not over.is_set():
            answers.append(ask(service))

    with ThreadPoolExecutor(CLIENTS) as clients:
        running = [clients.submit(client, k) for k in range(CLIENTS)]
        try:
            took_s = [change_to(service, number) for number in (2, 1, 2, 1)]
        finally:
            over.set()
        for each in running:
            each.result()

    assert max(took_s) < LONGEST_CHANGE_S
    assert len(answers) > 10
    assert {status for status, _, _ in answers} == {200}
    assert {answer["model"]["version"] for _, _, answer in answers} == {1, 2}
    for _, _, answer in answers:
        assert_of_its_version(answer, service, stored)


def test_a_damaged_version_never_answers_and_health_says_why(there, service, stored):
    change_to(service, 2)
    run = MlflowClient().get_run(MlflowClient().get_model_version(BLEND, "3").run_id)
    [model] = [output.model_id for output in run.outputs.model_outputs]
    damaged = artifacts(run).parent.parent / "models" / model / "artifacts" / "artifacts" / "bundle" / "bundle.json"
    with put_back(damaged):
        damaged.write_bytes(damaged.read_bytes()[:-1] + b" ")
        make_champion(3)
        deadline_s = time.monotonic() + LONGEST_CHANGE_S
        while "3" not in state(service)["refused"]:
            assert time.monotonic() < deadline_s
            assert ask(service)[2]["model"]["version"] == 2

    found = state(service)
    assert found["status"] == "stale"
    assert "bundle.json (changed)" in found["refused"]["3"]
    assert state(service, "/version")["version"] == 2
    assert "atma18_refused_versions 1.0" in look(service, "/metrics")
    change_to(service, 1)
    assert state(service)["status"] == "ok"


def test_pictures_may_be_plain_bytes_in_an_arrow_stream(there, service, stored, tiny):
    rows = pa.Table.from_pandas(raw_rows(service.scene, tiny.folder), preserve_index=False)
    out = pa.BufferOutputStream()
    with ipc.new_stream(out, rows.schema) as stream:
        stream.write_table(rows)
    body = bytes(out.getvalue())

    assert len(body) < 0.8 * len(service.body)
    assert_of_its_version(ask(service, body, **{"Content-Type": ARROW})[2], service, stored)

    url = f"http://127.0.0.1:{service.port}/invocations"
    with urlopen(Request(url, body, {"Content-Type": ARROW, "Accept": ARROW})) as answered:
        answer = ipc.open_stream(answered.read()).read_all()
    told = json.loads(answer.schema.metadata[b"model"])
    assert_of_its_version({"model": told, "predictions": answer.to_pylist()}, service, stored)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{", "application/json"), (b'{"instances": []}', "application/json"), (b"a,b", "text/csv")],
)
def test_a_wrong_request_is_refused_in_one_line(there, service, body, kind):
    status, _, answer = ask(service, body, **{"Content-Type": kind})

    assert status == (415 if kind == "text/csv" else 400)
    assert "expected" in answer["message"]
    assert "\n" not in answer["message"]


def test_a_large_body_is_refused_and_the_service_goes_on(there, service, stored):
    status, _, answer = ask(service, b"[" + b"1," * 9_000_000 + b"1]")

    assert (status, "at most 16 MB" in answer["message"]) == (413, True)
    assert_of_its_version(ask(service)[2], service, stored)


def test_metrics_and_log_tell_what_was_answered(there, service):
    ask(service, **{"X-Request-ID": "to-be-found"})
    figures = dict(line.rsplit(" ", 1) for line in look(service, "/metrics").splitlines() if not line.startswith("#"))

    assert float(figures["atma18_request_seconds_count"]) == float(figures['atma18_answers_total{status="200"}']) >= 1
    assert figures["atma18_version"] == f"{float(state(service, '/version')['version'])}"
    refused = {name: float(count) for name, count in figures.items() if name.startswith("atma18_refusals_total")}
    assert refused == {
        'atma18_refusals_total{kind="input"}': 2.0,
        'atma18_refusals_total{kind="content type"}': 1.0,
        'atma18_refusals_total{kind="large body"}': 1.0,
    }
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    [line] = [line for line in lines if line["request_id"] == "to-be-found"]
    assert line["status"] == 200
    assert line["samples"] == len(service.scene)
    assert line["version"] == state(service, "/version")["version"]


def test_what_waits_is_answered_before_the_service_ends(there, stored, service, tmp_path):
    """A version by number is not followed, and SIGTERM cuts nobody off."""
    process, port = start(tmp_path, f"--model=models:/{BLEND}/2")
    wait_for(f"http://127.0.0.1:{port}/ready", process)
    other = SimpleNamespace(port=port, body=service.body, scene=service.scene)
    assert state(other)["follows"] is False
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(ask, other) for _ in range(CLIENTS)]
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        answers = [each.result() for each in asked]
    process.wait(timeout=30)

    assert [status for status, _, _ in answers] == [200] * CLIENTS
    for _, _, answer in answers:
        assert answer["model"]["version"] == 2
        assert_of_its_version(answer, service, stored)


def test_a_version_that_is_not_there_ends_the_command(there, stored, tmp_path):
    process, _ = start(tmp_path, f"--model=models:/{BLEND}/99")

    assert process.wait(timeout=120) == 1
    said = (tmp_path / "log").read_text()
    assert f"models:/{BLEND}/99: expected a registered version, found none" in said
    assert "Traceback" not in said
