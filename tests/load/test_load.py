"""A served blend under load: answers stay the same with many clients, most of them faulty, slow or disconnected."""

import base64
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from atma18.data.dataset import Dataset
from atma18.serving import arrow
from benchmarks.serving import request as body_of
from steps import main
from tests.fixtures import enter, forget_caller
from tests.server import free_port, wait_for
from tests.store import BIN, FAST, PROJECT, SHORT, SYSTEM_PATH, call, ran

CLIENTS, WARM_UP, REQUESTS, PARTS = 8, 200, 500, 5
LARGEST_GROWTH_MB = 20
JSON = "application/json"
PATH = "/invocations"
OUT_OF_HUNDRED = {"good": 15, "slow": 1, "gone while sending": 3, "gone before the answer": 2, "wrong": 78, "large": 1}


@pytest.fixture(scope="module")
def store(tiny_folder, tmp_path_factory):
    """A store with a quickly trained blend, and the environment of what serves it."""
    folder = tmp_path_factory.mktemp("load")
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(folder, patch)
        ran(call(main, f"--data={tiny_folder}", FAST, "--folds=2", *SHORT))
        environment = os.environ | {"PATH": f"{BIN}:{SYSTEM_PATH}", "OMP_NUM_THREADS": "1"}
    return SimpleNamespace(folder=folder, environment=environment)


@pytest.fixture(scope="module", params=["ours", "mlflow"])
def service(request, store, tiny_folder, tiny_cache):
    """A server of the blend, MLflow's or ours, and the requests for a few of its scenes."""
    port, environment, model = free_port(), dict(store.environment), "models:/atma18-blend@candidate"
    if request.param == "mlflow":
        words = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)]
        environment.pop("PYTHONPATH", None)
    else:
        words = ["steps.serve", f"--model={model}", f"--port={port}"]
        environment["PYTHONPATH"] = str(PROJECT)
    log = store.folder / f"{request.param}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=store.folder, env=environment, stdout=file, stderr=file
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield SimpleNamespace(
            port=port,
            process=process,
            log=log,
            scenes=requests_of(tiny_folder, tiny_cache),
            wrongs=WRONGS[request.param],
        )
    finally:
        process.terminate()
        process.wait()


def requests_of(folder, cache):
    """Requests of one, four and six samples."""
    dataset = Dataset.open(str(folder), cache)
    names = np.array([i.rsplit("_", 1)[0] for i in dataset.test.ids])
    scenes = [np.flatnonzero(names == name) for name in np.unique(names)]
    singles = [np.array([row]) for row in range(4)]
    return [body_of(dataset.test.take(rows), dataset.folder) for rows in (*singles, *scenes)]


def said_by(status, text):
    """Return the status and the body of an answer; of a good one the predictions, for each has an ID of its own."""
    return status, (json.dumps(json.loads(text)["predictions"]) if status == 200 else text)


def ask(service, body, content_type=JSON, method="POST", path=PATH):
    """Return the status and the body of the answer."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    connection = HTTPConnection("127.0.0.1", service.port, timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return said_by(answer.status, answer.read())
    finally:
        connection.close()


def changed(body, column, value):
    """The same request with another value in the first row."""
    asked = json.loads(body)
    split = asked["dataframe_split"]
    split["data"][0][split["columns"].index(column)] = value
    return json.dumps(asked).encode()


def wrongs_of_mlflow(body):
    """What clients get wrong: how they ask, the status that it deserves, and words that the answer has to say."""
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n broken").decode()
    small = json.loads(body)["dataframe_split"]
    without = {"columns": small["columns"][1:], "data": [row[1:] for row in small["data"]]}
    huge = body.replace(b'"data": [[', b'"data": [[' + b"9" * 5000 + b",", 1)
    return {
        "no JSON": ((b"scene",), 400, "valid JSON"),
        "nothing": ((b"",), 400, "valid JSON"),
        "cut short": ((body[: len(body) // 2],), 400, "valid JSON"),
        "no UTF-8": ((b"\xff\xfe{",), 400, "valid JSON"),
        "a list": ((b"[1, 2]",), 400, "dataframe_split"),
        "no key": ((b"{}",), 400, "dataframe_split"),
        "text for rows": ((b'{"dataframe_split": "rows"}',), 400, "must be a dictionary"),
        "a missing column": ((json.dumps({"dataframe_split": without}).encode(),), 400, "missing inputs"),
        "other columns": ((b'{"dataframe_records": [{"a": 1}]}',), 400, "missing inputs"),
        "text for a speed": ((changed(body, "vEgo", "fast"),), 400, "vEgo"),
        "an object for a speed": ((changed(body, "vEgo", {"a": 1}),), 400, "vEgo"),
        "no number": ((changed(body, "vEgo", float("nan")),), 400, "expected a finite number"),
        "no finite number": ((changed(body, "vEgo", float("inf")),), 400, "expected a finite number"),
        "a speed beyond everything": ((changed(body, "vEgo", 1e308),), 400, "vEgo"),
        "400 digits": ((changed(body, "vEgo", 10**400),), 400, "vEgo"),
        "5,000 digits": ((huge,), 400, "4300 digits"),
        "no ID": ((changed(body, "ID", 7),), 400, "expected an ID"),
        "no base64": ((changed(body, "image_t", "abc"),), 400, "image_t"),
        "a number for a frame": ((changed(body, "image_t", 3),), 400, "image_t"),
        "a broken PNG": ((changed(body, "image_t-0.5", png),), 400, "image_t-0.5: expected a whole PNG image"),
        "broken lights": ((changed(body, "traffic_lights", "{"),), 400, "traffic_lights: expected a JSON list"),
        "deep lights": ((changed(body, "traffic_lights", "[" * 10_000),), 400, "traffic_lights: expected"),
        "no such gear": ((changed(body, "gearShifter", "sixth"),), 400, "in gearShifter, found"),
        "10,000 lists deep": ((b"[" * 10_000 + b"]" * 10_000,), 400, "recursion"),
        "10,000 objects deep": ((b'{"a":' * 10_000 + b"1" + b"}" * 10_000,), 400, "recursion"),
        "no content type": ((body, None), 415, "expected the content type"),
        "another content type": ((body, "text/xml"), 415, "content types"),
        "another charset": ((body, "application/json; charset=latin-1"), 415, "UTF-8"),
        "no CSV": ((b'a,"b\n1,2,3', "text/csv"), 415, "application/json"),
        "no Parquet": ((b"PAR1", "application/vnd.apache.parquet"), 400, "Parquet"),
        "another method": ((b"", JSON, "GET"), 405, "Not Allowed"),
        "another path": ((body, JSON, "POST", "/nothing"), 404, "Not Found"),
    }


def wrongs_of_ours(body):
    """The same for our service, which reads a body itself."""
    said = {
        **dict.fromkeys(["no JSON", "nothing", "cut short", "no UTF-8"], "expected JSON in UTF-8"),
        **dict.fromkeys(["a missing column", "other columns"], "missing: "),
        **dict.fromkeys(["10,000 lists deep", "10,000 objects deep"], "at most 20 levels"),
        "text for rows": "expected an object with",
        "another content type": "expected the content type",
        "no Parquet": "expected the content type",
    }
    status = {"no Parquet": 415}
    same = wrongs_of_mlflow(body)
    ours = {name: (asked, status.get(name, code), said.get(name, words)) for name, (asked, code, words) in same.items()}
    return ours | {"no Arrow": ((b"ARROW1", arrow.CONTENT_TYPE), 400, "expected an Arrow stream")}


WRONGS = {"mlflow": wrongs_of_mlflow, "ours": wrongs_of_ours}


def larges(body):
    """64 MB that nobody asked for: numbers, and a frame."""
    numbers, frame = b"[" + b"1," * 32_000_000 + b"1]", changed(body, "image_t", "A" * 64_000_000)
    return {name: ((junk,), 413, "at most 16 MB, found 64.") for name, junk in (("numbers", numbers), ("frame", frame))}


def refused_well(name, answer, status, said):
    """Return what is not as it should be about a refusal: a status, and one line of JSON."""
    found, text = answer
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError):
        return [f"{name}: {found} {text[:500]!r}"]
    fine = found == status and said in message and "\n" not in message and len(text) < 700
    return [] if fine and b"Traceback" not in text else [f"{name}: {found} {text[:500]!r}"]


def spoken(service, body, *, parts=1, pause_s=0.0, heard=1.0, listen=True, reset=False):
    """Send a share of a request in parts by a socket of our own; return the answer unless we hang up."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n"
    whole = f"{head}Connection: close\r\n\r\n".encode() + body
    whole = whole[: int(len(whole) * heard)]
    with socket.create_connection(("127.0.0.1", service.port), timeout=120) as connection:
        for start in range(0, len(whole), -(-len(whole) // parts)):
            connection.sendall(whole[start : start + -(-len(whole) // parts)])
            time.sleep(pause_s)
        if not listen:
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return None
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    return said_by(int(head.split()[1]), content)


class Clients:
    """Clients of every kind, and what they have to complain of."""

    def __init__(self, service, alone):
        self.service, self.alone = service, alone
        self.wrong = service.wrongs(service.scenes[-1])
        self.large = larges(service.scenes[0])

    def act(self, plan):
        """Be one client; return its kind and its complaints."""
        kind, number = plan
        scene = number % len(self.alone)
        body, alone = self.service.scenes[scene], self.alone[scene]
        if kind == "good":
            complaints = [] if ask(self.service, body) == alone else [f"scene {scene}: another answer than alone"]
        elif kind == "slow":
            heard = spoken(self.service, body, parts=6, pause_s=0.2)
            complaints = [] if heard == alone else [f"scene {scene}, sent slowly: another answer than alone"]
        elif kind.startswith("gone"):
            spoken(self.service, body, heard=0.5 if "sending" in kind else 1.0, listen=False, reset=number % 2 == 0)
            complaints = []
        else:
            cases = self.wrong if kind == "wrong" else self.large
            name = list(cases)[number % len(cases)]
            asked, status, said = cases[name]
            complaints = refused_well(name, ask(self.service, *asked), status, said)
        return kind, complaints

    def act_together(self, plans):
        with ThreadPoolExecutor(CLIENTS) as clients:
            done = list(clients.map(self.act, plans))
        return Counter(kind for kind, _ in done), [text for _, complaints in done for text in complaints]


def shuffled(requests, seed):
    """Requests of all kinds, in their shares, in an order of chance; each has a number of its own among its kind."""
    plans = [(kind, n) for kind, share in OUT_OF_HUNDRED.items() for n in range(share * requests // 100)]
    random.Random(seed).shuffle(plans)
    return plans


def processes_of(server):
    return [server, *server.children(recursive=True)]


def rss_mb(server):
    return sum(process.memory_info().rss for process in processes_of(server)) / 1e6


def open_in(server):
    """How many files and threads the server and the processes that it started have."""
    time.sleep(2)  # until who has hung up is noticed
    found = processes_of(server)
    return sum(process.num_fds() for process in found), sum(process.num_threads() for process in found)


def growth(levels):
    """From the first of several levels to the last, along the straight line nearest to all: each is uncertain alone."""
    return np.polyfit(range(len(levels)), levels, 1)[0] * (len(levels) - 1)


def test_load_changes_no_answer_and_leaves_nothing_behind(service, capsys):
    alone = [ask(service, body) for body in service.scenes]
    assert {status for status, _ in alone} == {200}
    clients, server = Clients(service, alone), psutil.Process(service.process.pid)
    clients.act_together(shuffled(WARM_UP, seed=0))
    before, levels_mb, started_s = open_in(server), [rss_mb(server)], time.perf_counter()

    kinds, complaints = Counter(), []
    requests = shuffled(REQUESTS, seed=1)
    for part in range(PARTS):
        done, complained = clients.act_together(requests[part::PARTS])
        kinds, complaints = kinds + done, complaints + complained
        levels_mb.append(rss_mb(server))

    took_s, after = time.perf_counter() - started_s, open_in(server)
    with capsys.disabled():
        print(f"\n{kinds.total():,} requests of {CLIENTS} clients in {took_s:.0f} s: {dict(kinds)}")
        print(f"wrong answers: {len(complaints)}; RSS, MB: {', '.join(f'{level:.0f}' for level in levels_mb)}")
        print(f"files and threads {before} -> {after}")
    assert complaints == []
    assert growth(levels_mb) < LARGEST_GROWTH_MB
    assert after[0] <= before[0]
    assert after[1] <= before[1]
    assert [ask(service, body) for body in service.scenes] == alone
    assert "Traceback" not in service.log.read_text()
