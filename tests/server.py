"""Helpers for servers in tests: find a free port, and wait until a server answers."""

import socket
import time
from urllib.request import urlopen

NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Spares MLflow's server half a dozen processes for work that no test asks for."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url, process, seconds=120):
    for _ in range(seconds * 10):
        assert process.poll() is None, "the server ended"
        try:
            with urlopen(url):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer in {seconds} s")
