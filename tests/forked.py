"""Steps in processes of their own that begin at once: each is forked from a server that has imported everything."""

import gc
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow import MlflowClient
from mlflow.utils import requirements_utils

from atma18 import tracking
from atma18.nets.checkpoints import Checkpoints
from steps import blend, doctor, embed, gbdt, main, nn1, nn2, predict, promote, upload
from tests.figures import undrawn
from tests.graphs import lent
from tests.small import know_small
from tests.store import PROJECT

COMMANDS = (blend, doctor, embed, gbdt, main, nn1, nn2, predict, promote, upload)
"""Imported here, once, and not in each process."""
WRITES = (
    "_create_logged_model",
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

FILLER = "filler"

PRELOADED = (
    *("alembic.command", "git", "mlflow.pyfunc", "onnx", "onnxruntime", "pyarrow.dataset", "pyarrow.parquet"),
    *("scipy.optimize", "scipy.stats", "sklearn.cluster", "torch._dynamo", "xgboost"),
    *(
        "atma18.embedding.probe",
        "atma18.blending",
        "atma18.checks.frames",
        "atma18.gbdt.boosting",
        "atma18.nets.training",
    ),
    *("atma18.pipeline.all_steps", "atma18.plots", "atma18.report.page"),
)
"""What steps import where they need it: half of the ten seconds of a short step."""
for name in PRELOADED:
    importlib.import_module(name)
sqlalchemy.orm.configure_mappers()  # MLflow's
requirements_utils._init_packages_to_modules_map()  # a look at every package that is installed

gc.freeze()  # for the processes that are forked from the one that has imported this
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.forked"])


class Forked:
    """A step at work."""

    def __init__(self, step, words, folder, environment=None, *, logs=None, **faults):
        """Start `step` with the store, the cache and, unless `logs` is another, the log in a folder.

        Args:
            step: its name.
            words: its options.
            folder: where it works.
            environment: what it gets beside this process's environment.
            logs: the folder of its log.
            faults: as in `_fail`.
        """
        self.log = Path(logs or folder) / f"{step}-{os.urandom(4).hex()}.log"
        given = (step, [str(word) for word in words], str(folder), str(self.log), environment or {}, faults)
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

    def wait_for(self, words, seconds=300):
        """Wait until the step has said something."""
        for _ in range(seconds * 20):
            if words in self.said:
                return
            assert self.process.is_alive(), self.said
            time.sleep(0.05)
        raise AssertionError(f"expected {words!r} within {seconds} s, found:\n{self.said}")

    @property
    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def finish(self):
        assert self.wait() == 0, self.said
        return self.said


def _run(step, words, folder, log, environment, faults):
    with Path(log).open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith("MLFLOW_") and name not in tracking.QUIET]:
        os.environ.pop(name)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.environ["ATMA18_CACHE"] = f"{folder}/cache"
    os.environ.update(environment)
    os.chdir(folder)
    know_small()
    mlflow.set_tracking_uri(None)
    _fail(**faults)
    sys.argv = [step]
    with undrawn(), lent(os.environ["ATMA18_CACHE"]):
        importlib.import_module(f"steps.{step}").main(words)


def _fail(die_at=None, fill_at=None, locked_s=None, epoch_s=None):
    """Prepare what goes wrong.

    Args:
        die_at: the write to the store that the step dies before: how many after the first call of a method, or after
            the first of all (None).
        fill_at: the method at whose first call a disk gets full, and the folder of that disk.
        locked_s: how many seconds MLflow waits for a database that is locked, instead of 20.
        epoch_s: how many seconds each epoch takes longer, so that somebody can come in between.
    """
    if die_at is not None:
        _before_writes(*die_at, _die)
    if fill_at is not None:
        _before_writes(fill_at[0], 0, lambda name: fill(fill_at[1]))
    if locked_s is not None:
        text = sqlalchemy.sql.text
        shorter = f"busy_timeout = {locked_s * 1000};"
        sqlalchemy.sql.text = lambda words: text(words.replace("busy_timeout = 20000;", shorter))
    if epoch_s is not None:
        save = Checkpoints.save
        Checkpoints.save = lambda self, fold, state: time.sleep(epoch_s) or save(self, fold, state)


def fill(folder, leave_bytes=0):
    """Fill the disk of a folder."""
    with (Path(folder) / FILLER).open("wb", buffering=0) as file, suppress(OSError):
        while (left := shutil.disk_usage(folder).free - leave_bytes) > 0:
            file.write(bytes(min(left, 1_000_000)))


def _die(name):
    print(f"killed before {name}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def _before_writes(name, count, act):
    """Do something right before a write to the store, once."""
    made = []

    def counted(method):
        def call(*args, **kwargs):
            if made or name in (None, method.__name__):
                made.append(method.__name__)
            if len(made) == count + 1:
                act(method.__name__)
            return method(*args, **kwargs)

        return call

    for write in WRITES:
        setattr(MlflowClient, write, counted(getattr(MlflowClient, write)))
