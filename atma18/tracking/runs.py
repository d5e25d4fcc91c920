"""The open run of a step: log metrics, keep files, and end with a complete result or none."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import LoggedModelInput, Param, RunTag
from mlflow.exceptions import MlflowException

from atma18 import metrics
from atma18.bundle import servable
from atma18.bundle.bundled_models import Member
from atma18.bundle.model import Model
from atma18.bundle.servable import Sensors
from atma18.compute import stopwatch
from atma18.compute.stopwatch import Phase
from atma18.data.dataset import DEMO, Dataset
from atma18.data.predictions import Predictions
from atma18.metrics import scores
from atma18.run_context import RunContext
from atma18.schema import Samples
from atma18.serving import rehearsal
from atma18.storage import strict_json
from atma18.tracking import lifecycle, registry, store
from atma18.tracking.identity import PREFIX, Identity, git_state
from atma18.tracking.outbox import Outbox
from atma18.tracking.staged_result import Address, StagedResult
from atma18.tracking.upstream import Upstream, open_run

if TYPE_CHECKING:  # a command without pictures does without matplotlib
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

_FAST = {"compress_level": 1}
"""Options of PNG files: with the usual level, a picture takes up to a third longer and is at most a fifth smaller."""


@dataclass
class StepRun:
    """The open run of a step. Its files are collected in a scratch folder and logged at the end, the manifest last."""

    identity: Identity
    context: RunContext
    upstreams: Mapping[str, Upstream]
    run_id: str
    staged: StagedResult
    """The result of the run so far."""
    outbox: Outbox
    upload_command: str
    """The command that uploads the result later."""
    finished: Upstream | None = None
    """The verified run, after it has ended."""

    def measure(self, figures: Mapping[str, float], epoch: int | None = None) -> None:
        """Log metrics: those of an epoch at once, the others with the result, as metrics of its model too."""
        if epoch is None:
            self.outbox.metrics_of_model(figures)
        else:
            self.outbox.metrics(figures, epoch)

    def note(self, **tags: str) -> None:
        """Set tags of the run."""
        self.outbox.tags({PREFIX + name: value for name, value in tags.items()})

    def go_on_from(self, run_id: str) -> None:
        """Record the interrupted run whose work this run continues, and close that run."""
        self.note(resumed_from=run_id)
        lifecycle.close_interrupted(run_id, continued_by=self.run_id)

    @property
    def folder(self) -> Path:
        """The folder of the files, laid out as the run's artifacts."""
        return self.staged.files

    @contextmanager
    def phase(self, name: str, samples: int = 0) -> Iterator[Phase]:
        """Measure the time in seconds, the samples/s and the peak memory of a phase."""
        with stopwatch.timed(name, samples) as phase:
            yield phase
        self.measure(phase.figures)
        _log.info(f"{self.identity.step}: {phase}")

    def keep_predictions(self, predictions: Predictions) -> None:
        """Keep predictions, the OOF scores beside those of simple baselines, and figures of the OOF predictions."""
        from atma18 import plots

        dataset = self.context.dataset
        predictions.write(self.folder / "predictions")
        rehearsal.write(self.staged.rehearsal, dataset.test, predictions.test_m)
        parts = scores.training_parts(dataset.train, dataset.test)
        oof_scores = scores.scores(predictions.oof_m, dataset.targets_m, parts, dataset.train.scenes)
        figures: dict[str, float] = {}  # the UI's charts begin with the first
        for score in oof_scores:
            name = score.part.metric("oof")
            interval = {} if score.part.by else {f"{name}_low": score.low_m, f"{name}_high": score.high_m}
            figures |= {name: score.mae_m} | interval
        references = self.context.references_m
        figures |= {
            f"reference/{name}_m": metrics.mae_m(values_m, dataset.targets_m) for name, values_m in references.items()
        }
        self.measure(figures)
        if dropped := metrics.size_mix(dataset.train.scene_sizes, dataset.test.scene_sizes).dropped:
            self.note(testmix_dropped=",".join(dropped))
        for name, figure in plots.of_predictions(dataset, predictions.oof_m, oof_scores).items():
            self.keep_figure(name, figure)

    def keep_table(self, name: str, table: pd.DataFrame) -> None:
        """Keep a table as `<name>.parquet`."""
        path = self.folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_parquet(path, index=False)

    def keep_json(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Keep a value as `<name>.json`."""
        (self.folder / f"{name}.json").write_text(strict_json.dumps(value, indent=1))

    def keep_figure(self, name: str, figure: "Figure") -> None:
        """Keep a picture as `figures/<name>.png`."""
        (self.folder / "figures").mkdir(exist_ok=True)
        figure.savefig(self.folder / "figures" / f"{name}.png", dpi=120, pil_kwargs=_FAST)

    def show(self, name: str, figure: "Figure", index: int) -> None:
        """Send a picture to the UI's image grid at once; its slider shows the earlier pictures with the same name."""
        with io.BytesIO() as png:
            figure.savefig(png, dpi=80, pil_kwargs=_FAST)
            self.outbox.picture(name, png.getvalue(), index)

    def keep_servable(self, model: Model, upstreams: Mapping[str, Upstream]) -> None:
        """Keep the model with everything that it needs to predict from raw frames.

        Args:
            model: the model of the step.
            upstreams: the runs whose predictions or features the model reads; their files are linked, not copied.
        """
        inputs = {name: upstream.run_id for name, upstream in upstreams.items()}
        member = Member(self.identity.step, model, inputs)
        bundles = {name: upstream.bundle for name, upstream in upstreams.items()}
        train = self.context.dataset.train
        servable.write(self.staged.bundle, self.run_id, member, self.context.folds.count, train, bundles)

    def open(self, config: Any) -> None:  # noqa: ANN401 - any configuration dataclass
        """Log the parameters, datasets and tags of the run before the step begins."""
        resolved = {
            "step": self.identity.step,
            "data": self.context.data,
            "folds": self.context.folds.count,
            "fold_seed": self.context.fold_seed,
            "preset": self.context.preset_name,
            "seed": self.context.seed,
            "device": self.identity.device,
            "threads": self.identity.threads,
            "config": asdict(config),
        }
        tags = self.identity.tags | setting_tags(self.context)
        self.keep_json("config", resolved | {"tags": tags})  # a user can change a tag; the manifest protects this file
        self.context.folds.write(self.folder / "folds.parquet")
        parameters = [Param(f"cfg.{name}", str(value)) for name, value in _flat(resolved).items()]
        run_tags = [RunTag(name, value) for name, value in tags.items()]
        store.client().log_batch(self.run_id, params=parameters, tags=run_tags)
        log_datasets(self.context)
        models = [LoggedModelInput(upstream.manifest.model_id) for upstream in self.upstreams.values()]
        if models:
            store.client().log_inputs(self.run_id, models=models)

    def close(self) -> None:
        """Upload the result; if the store fails, keep the result on this machine.

        Raises:
            ValueError: If the result was kept on this machine (the message has the upload command), or an upstream is
                not intact any more.
        """
        cache = self.context.cache
        try:
            self.staged.deliver(cache)
        except store.FAILURES as error:
            raise ValueError(
                f"{self.identity.step}: expected the store to take the result of run {self.run_id}, found: "
                f"{store.message_of(error)}. It is kept in {self.staged.keep(cache)}. When the store answers again, "
                f"this uploads it:\n  {self.upload_command}"
            ) from error


@contextmanager
def step_run(
    identity: Identity,
    context: RunContext,
    config: Any,  # noqa: ANN401 - any configuration dataclass
    upstreams: Mapping[str, Upstream],
) -> Iterator[StepRun]:
    """Run a step: its run is FINISHED with a manifest and a registered version, or neither.

    Args:
        identity: everything that determines the result.
        context: the run context.
        config: the step's resolved configuration.
        upstreams: the verified runs that it reads, by name.
    """
    with lifecycle.own_or_nested_run(identity.step) as run_id, context.cache.scratch("runs") as scratch:
        staged = StagedResult.new(scratch, _address(identity, context, run_id))
        outbox = Outbox(run_id, scratch)
        step = StepRun(identity, context, upstreams, run_id, staged, outbox, store.command("upload", {}))
        registry.check_may_register(identity.step)
        with _there(upstreams), step.phase("total", len(context.dataset.train)):
            step.open(config)
            yield step
        step.close()
    step.finished = open_run(run_id, context.cache)
    registry.register(step.finished)


@contextmanager
def _there(upstreams: Mapping[str, Upstream]) -> Iterator[None]:
    """Name the upstream of a file that disappeared after the upstream was verified."""
    try:
        yield
    except FileNotFoundError as error:
        for name, upstream in upstreams.items():
            if any(str(folder) in str(error) for folder in (upstream.artifacts, upstream.model)):
                raise ValueError(
                    f"{name} (run {upstream.run_id}): expected its files as they were when this step began, found one "
                    f"gone ({store.message_of(error)}): name another run, or run {upstream.step} again"
                ) from error
        raise


def _address(identity: Identity, context: RunContext, run_id: str) -> Address:
    sensors = Sensors.of(context.dataset.train)
    uri = mlflow.get_tracking_uri()
    return Address(uri, run_id, identity.step, identity.fingerprint, identity.inputs, **asdict(sensors))


def figures_of(run_id: str) -> dict[str, float]:
    """Return the newest value of every metric of a run."""
    return dict(store.client().get_run(run_id).data.metrics)


def note_of(run_id: str, name: str) -> str:
    """Return a tag of a run that was set by `StepRun.note`."""
    return store.client().get_run(run_id).data.tags[f"{PREFIX}{name}"]


def setting_tags(context: RunContext) -> dict[str, str]:
    """Return the tags that describe a run context."""
    absent = ",".join(context.dataset.absent) or "none"
    described = {"preset": context.preset_name, "git": git_state(), "absent_sensors": absent}
    if context.suspicions:
        described["suspicions"] = "\n".join(context.suspicions)
    return {PREFIX + name: value for name, value in described.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + (name if name != "config" else "")
        flat |= _flat(value, key and f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat


def log_datasets(context: RunContext) -> None:
    """Log both splits as datasets of the run."""
    dataset = context.dataset
    for role, samples in (("training", dataset.train), ("testing", dataset.test)):
        log_samples(dataset, context.data, role, samples)


def log_samples(dataset: Dataset, data: str, role: str, samples: Samples) -> None:
    """Log a split as a dataset of the run, with the head of `data_sha256`; MLflow's digest reads only 10,000 rows."""
    name = DEMO if data == DEMO else dataset.folder.resolve().name
    table = samples.signals.assign(ID=samples.ids.astype(object))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted in multiple ways")
        logged = from_pandas(table, str(dataset.folder), name=f"{name}-{role}", digest=dataset.sha256[:16])
    try:
        mlflow.log_input(logged, role)
    except MlflowException as error:
        if "unique" not in store.message_of(error).lower():
            raise
        mlflow.log_input(logged, role)  # another process has just logged the same drives
