"""A run's records get into the store: at once, or after a failure of the store, in order and with their own times."""

import io
import math
import signal
from contextlib import contextmanager

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image

from atma18.cache import Cache
from atma18.tracking import staged_result, store
from atma18.tracking.outbox import Outbox
from atma18.tracking.staged_result import Address, StagedResult
from tests.store import store_uri

ADDRESS = Address("sqlite:////a.db", "r" * 32, "nn1", "f" * 64, {"nn1": "0" * 32}, ("vEgo", "gas"), True, False)


@pytest.fixture
def run_id(tmp_path, no_caller, monkeypatch):
    """A run in a store of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(tmp_path))
    monkeypatch.chdir(tmp_path)
    return MlflowClient().create_run(mlflow.create_experiment("said")).info.run_id


@pytest.fixture
def outbox(run_id, tmp_path):
    return Outbox(run_id, tmp_path)


@contextmanager
def away():
    """Let the store fail inside, and say how often it was asked."""
    asked = []

    def fail(*args, **kwargs):
        asked.append(args)
        raise MlflowException("gone\n[SQL: a long one]")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("log_batch", "log_image"):
            patch.setattr(MlflowClient, name, fail)
        yield asked


def png():
    with io.BytesIO() as file:
        Image.new("RGB", (4, 3), "red").save(file, "PNG")
        return file.getvalue()


def values(run_id, name):
    return [(m.step, m.value) for m in MlflowClient().get_metric_history(run_id, name)]


def test_what_the_store_takes_is_not_kept(outbox, tmp_path):
    outbox.metrics({"a": 1.0}, 3)
    outbox.tags({"why": "b\n'c'"})

    assert values(outbox.run_id, "a") == [(3, 1.0)]
    assert MlflowClient().get_run(outbox.run_id).data.tags["why"] == "b\n'c'"
    assert not (tmp_path / "unsent.jsonl").exists()


def test_what_the_store_does_not_take_is_sent_when_it_answers_again(outbox, tmp_path, caplog):
    with away() as asked:
        outbox.metrics({"a": 1.0, "b": math.nan}, 0)
        outbox.tags({"stage": "first"})
        outbox.metrics({"a": 2.0}, 1)
        outbox.tags({"stage": "second"})
        outbox.picture("seen", png(), 1)
        assert len(asked) == 1, "a store that is away is not asked again until the end"
        with pytest.raises(MlflowException):
            outbox.flush()
    assert caplog.text.count("the store does not take what run") == 1

    Outbox(outbox.run_id, tmp_path).flush()

    assert values(outbox.run_id, "a") == [(0, 1.0), (1, 2.0)]
    assert math.isnan(values(outbox.run_id, "b")[0][1])
    assert MlflowClient().get_run(outbox.run_id).data.tags["stage"] == "second"
    [shown] = [f.path for f in MlflowClient().list_artifacts(outbox.run_id, "images") if f.path.endswith(".png")]
    assert "seen+step+1" in shown
    assert not (tmp_path / "unsent.jsonl").exists()


def test_metrics_of_a_model_wait_for_it_and_are_metrics_of_the_run_too(outbox):
    outbox.metrics_of_model({"mae_m": 0.5})
    outbox.metrics_of_model({"seconds": 2.0})
    assert values(outbox.run_id, "mae_m") == []

    experiment = MlflowClient().get_run(outbox.run_id).info.experiment_id
    model = MlflowClient().create_logged_model(experiment, "model", source_run_id=outbox.run_id)
    for _ in range(2):  # the second time as after an upload that was cut off
        outbox.flush_model(model.model_id)

    assert values(outbox.run_id, "mae_m") == [(0, 0.5)]
    of_model = MlflowClient().get_logged_model(model.model_id).metrics
    assert {metric.key: metric.value for metric in of_model} == {"mae_m": 0.5, "seconds": 2.0}


def test_what_is_sent_twice_is_there_once(outbox, tmp_path):
    with away():
        outbox.metrics({"a": 1.0}, 0)
    said = (tmp_path / "unsent.jsonl").read_text()
    for _ in range(2):  # killed between sending and forgetting
        (tmp_path / "unsent.jsonl").write_text(said)
        outbox.flush()

    assert values(outbox.run_id, "a") == [(0, 1.0)]


def test_a_parcel_is_read_as_it_was_kept_and_waits_for_its_own_store_alone(tmp_path, monkeypatch):
    cache = Cache.open(tmp_path / "cache")
    with cache.scratch("runs") as scratch:
        new = StagedResult.new(scratch, ADDRESS)
        (new.files / "config.json").write_text("{}")
        place = new.keep(cache)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS.store)
    [kept] = staged_result.kept(cache)
    assert (kept.folder, kept.address) == (place, ADDRESS)
    assert (kept.files / "config.json").read_text() == "{}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////b.db")
    assert staged_result.kept(cache) == []


def test_a_failure_is_told_in_one_line_without_the_statement():
    assert store.message_of(MlflowException("database is\n locked\n[SQL: SELECT a]")) == "database is locked"
    assert store.message_of(OSError(28, "No space left on device")) == "[Errno 28] No space left on device"
    assert len(store.message_of(MlflowException("x" * 10_000))) == 300


def test_an_impatient_question_leaves_the_patience_as_it_was(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)

    with store.one_retry():
        assert store.os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"

    assert store.os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "6"
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in store.os.environ


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_the_end_of_the_process_waits_for_a_write_to_the_database(outbox, run_id, monkeypatch, number):
    seen = []

    def end(number, frame):
        seen.append(values(run_id, "a"))
        raise SystemExit

    before = signal.signal(number, end)
    log_batch = MlflowClient.log_batch
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", lambda *a, **k: signal.raise_signal(number) or log_batch(*a, **k))
        try:
            with pytest.raises(SystemExit):
                outbox.metrics({"a": 1.0})
        finally:
            restored = signal.signal(number, before)

    assert seen == [[(0, 1.0)]]
    assert restored == end
    assert not outbox.away


def test_who_asks_twice_does_not_wait_for_the_database(outbox, monkeypatch):
    def slow(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("expected the write to end here")

    monkeypatch.setattr(MlflowClient, "log_batch", slow)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            outbox.metrics({"a": 1.0})
    finally:
        signal.signal(signal.SIGINT, handler)
