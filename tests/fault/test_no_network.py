"""Nothing uses a network without a request: neither training, nor a servable, nor the libraries below them."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.store import FAST, PROJECT, SHORT, SYSTEM_PATH, first, store_uri, version_of

# Python imports this first in every process, and in those that they start.
WATCH = """
import os, sys

def watch(event, arguments):
    if event == "socket.connect" and not isinstance(arguments[1], (str, bytes)):  # those are files of this machine
        tried(arguments[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        tried(arguments[-1] if event == "socket.sendto" else arguments[0])

def tried(what):
    with open(os.environ["TRIED"], "a") as file:
        print(what, file=file)
    raise OSError(f"the network is shut: {what}")

sys.addaudithook(watch)
"""

# MLflow tells of no load, but of what else the process that has loaded does.
LOAD = """
import sys, time
import mlflow

mlflow.pyfunc.load_model(sys.argv[1])
mlflow.MlflowClient(registry_uri="sqlite:///own.db").create_registered_model("own")
time.sleep(2)  # a thread would tell
"""


@pytest.fixture(scope="module")
def finished(finished_lite0):
    """What other processes than this one can load."""
    return finished_lite0


@pytest.fixture
def watched(tmp_path):
    """A bare environment whose every process notes what it tries to reach, and cannot: nothing in it says to be quiet.

    MLflow's telemetry is off by itself where a variable tells of pytest or of a server that runs tests.
    """
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    return {
        "PATH": SYSTEM_PATH,
        "HOME": str(tmp_path),
        "PYTHONPATH": f"{tmp_path / 'watch'}:{PROJECT}",
        "TRIED": str(tmp_path / "tried"),
        "ATMA18_CACHE": str(tmp_path / "cache"),
    }


def tried(environment):
    path = Path(environment["TRIED"])
    return path.read_text().splitlines() if path.exists() else []


@cache
def shut():
    """What runs a command where there is no network at all, on a system that lets us."""
    for words in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            return words
    return []


def without_network(words, cwd, env):
    """Run a command; return how it ended, and how many packets it tried to send, native libraries included."""
    counters = cwd / "counters"
    script = f'"$@"; code=$?; cat /proc/net/snmp /proc/net/snmp6 > {counters}; exit $code'
    done = subprocess.run([*shut(), "sh", "-c", script, "sh", *words], cwd=cwd, env=env, capture_output=True, text=True)
    if not shut():
        return done, 0  # the counters are of the whole machine
    names, values = re.findall(r"^Ip: (.*)$", counters.read_text(), re.MULTILINE)
    v4 = dict(zip(names.split(), map(int, values.split()), strict=True))
    [v6] = re.findall(r"^Ip6OutNoRoutes\s+(\d+)$", counters.read_text(), re.MULTILINE) or ["0"]
    return done, v4["OutNoRoutes"] + int(v6)


def test_training_needs_no_network_and_tries_none(tiny_folder, tmp_path, watched):
    words = [
        sys.executable,
        "-m",
        "steps.main",
        f"--data={tiny_folder}",
        FAST,
        "--folds=2",
        *SHORT,
        f"--out={tmp_path}/submission.csv",
    ]

    done, packets = without_network(words, tmp_path, watched | {"MLFLOW_TRACKING_URI": store_uri(tmp_path)})

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "submission.csv").is_file()
    assert (tried(watched), packets) == ([], 0)


def test_the_counters_see_what_python_does_not(tmp_path, watched):
    if not shut():
        pytest.skip("this system lets nobody shut the network")

    _, packets = without_network(["bash", "-c", "echo > /dev/udp/203.0.113.1/53"], tmp_path, watched)

    assert packets > 0


def load(finished, environment, cwd):
    uri = f"models:/atma18-blend/{version_of('blend', first('blend'))}"
    store = {"MLFLOW_TRACKING_URI": store_uri(finished.store)}
    words = [sys.executable, "-c", LOAD, uri]
    done = subprocess.run(words, cwd=cwd, env=environment | store, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tried(environment)


def test_a_process_that_has_loaded_a_servable_is_silent(there, tmp_path, watched):
    assert load(there, watched, tmp_path) == []


def test_telemetry_is_for_those_who_ask(there, tmp_path, watched):
    """And the silence above is no accident."""
    asked = load(there, watched | {"MLFLOW_DISABLE_TELEMETRY": "false"}, tmp_path)

    assert set(asked) == {"config.mlflow-telemetry.io"}
