"""Steps in processes of their own that begin at once: each is forked from a server that has imported everything."""

import importlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import mlflow
import torch
from mlflow import MlflowClient

from steps import blend, doctor, embed, gbdt, main, nn1, nn2, predict, promote, upload
from tests.store import PROJECT

COMMANDS = (blend, doctor, embed, gbdt, main, nn1, nn2, predict, promote, upload)
"""Imported here, once, and not in each process."""
WRITES = (
    "create_logged_model",
    "_create_model_version",
    "create_registered_model",
    "create_run",
    "delete_tag",
    "finalize_logged_model",
    "log_artifact",
    "log_artifacts",
    "log_batch",
    "log_text",
    "set_registered_model_alias",
    "set_tag",
    "set_terminated",
    "update_model_version",
    "update_registered_model",
)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forked"])


class Forked:
    """A step at work."""

    def __init__(self, step, words, folder, environment=None, die_at=None):
        """Start `step` with the store, the cache and the log in a folder.

        `die_at` is the write to the store that it dies before: a method, and how many writes after its first call.
        """
        self.log = Path(folder) / f"{step}-{os.urandom(4).hex()}.log"
        given = (step, [str(word) for word in words], str(folder), str(self.log), environment or {}, die_at)
        self.process = _context.Process(target=_run, args=given)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(PROJECT)  # the server that forks must find this file
        try:
            self.process.start()
        finally:
            os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)

    def send(self, number):
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def wait(self, seconds=300):
        """Wait for the end and return the exit code: 0, or what went wrong, or minus the signal."""
        self.process.join(seconds)
        assert not self.process.is_alive(), f"still at work after {seconds} s:\n{self.said}"
        return self.process.exitcode

    @property
    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def finish(self):
        assert self.wait() == 0, self.said
        return self.said


def _run(step, words, folder, log, environment, die_at):
    with Path(log).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("MLFLOW_") and "TELEMETRY" not in name]:
        os.environ.pop(name)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.environ["ATMA18_CACHE"] = f"{folder}/cache"
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    mlflow.set_tracking_uri(None)
    if die_at is not None:
        _die_before(*die_at)
    sys.argv = [step]
    importlib.import_module(f"steps.{step}").main(words)


def _die_before(name, count):
    """Kill this process right before a write to the store."""
    made = []

    def counted(method):
        def call(*args, **kwargs):
            if made or method.__name__ == name:
                made.append(method.__name__)
            if len(made) > count:
                print(f"killed before {method.__name__}", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    for name in WRITES:
        setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
