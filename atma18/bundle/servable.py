"""Servables: a model with all its upstreams, which predicts from raw frames and is stored as a bundle."""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from atma18 import bundle
from atma18.bundle import bundled_models
from atma18.bundle.bundled_models import Member
from atma18.bundle.files import OBJECTS, Bundle, Entry
from atma18.bundle.model import Model
from atma18.config import EMBEDDING
from atma18.data.predictions import Predictions
from atma18.gbdt import engines
from atma18.gbdt.inputs import StoredInputs
from atma18.schema import NUMERIC_SIGNALS, TARGETS, FloatArray, IntArray, Samples, StrArray, first_few, one_line
from atma18.storage import digests

if TYPE_CHECKING:
    from atma18.embedding import EmbeddingFeatures


@dataclass(frozen=True)
class Sensors:
    """The sensors that a sample must have: those of the training data."""

    signals: tuple[str, ...]
    gear: bool
    lights: bool

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """Return the sensors of these samples."""
        return cls(tuple(samples.signals.columns), samples.gear is not None, samples.traffic_lights is not None)


def predict_all(
    model: Model,
    train: Samples,
    folds: IntArray,
    test: Samples,
    inputs: tuple[StoredInputs, StoredInputs],
    device: str,
    splits: Sequence[tuple[Model, IntArray]] = (),
) -> Predictions:
    """Predict training samples out-of-fold, and test samples with the models of all folds.

    Args:
        model: the model of any step.
        train: the N training samples.
        folds: (N,) the fold of each training sample.
        test: the M test samples.
        inputs: the upstream predictions and embeddings for training and for test samples.
        device: device of nets.
        splits: for a model with several fold splits, the model of each split and the (N,) fold of each training sample
            in it. The out-of-fold prediction is the mean over the splits.
    """
    train_inputs, test_inputs = inputs
    oof_m = np.zeros((len(train), len(TARGETS)))
    splits = splits or [(model, folds)]
    for of_split, split in splits:
        for k in range(int(split.max()) + 1):
            rows = np.flatnonzero(split == k)
            oof_m[rows] += of_split.predict(k, train.take(rows), train_inputs.take(rows), device) / len(splits)
    test_m = np.stack([model.predict(k, test, test_inputs, device) for k in range(int(folds.max()) + 1)])
    return Predictions(train.ids, folds, oof_m, test.ids, test_m)


@dataclass(frozen=True)
class Servable:
    """A model with all its upstreams, ready to predict from raw samples."""

    root: str
    """The run ID of the model that predicts."""
    members: dict[str, Member]
    folds: int
    sensors: Sensors
    device: str
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The least and the largest training value of the signals that are numbers."""

    @property
    def causal(self) -> bool:
        """Whether samples may arrive one by one: no member uses a later sample of a scene."""
        return all(member.model.causal for member in self.members.values())

    def outside(self, samples: Samples) -> StrArray:
        """Return for each of N samples the signals outside the range of the training drives, or an empty text."""
        far = {
            name: ~samples.signals[name].between(*self.ranges[name]).to_numpy()
            for name in NUMERIC_SIGNALS
            if name in self.ranges and name in samples.signals
        }
        named = [", ".join(name for name in far if far[name][row]) for row in range(len(samples))]
        return np.array(named, dtype=np.str_)

    def predict_by_fold(self, samples: Samples) -> FloatArray:
        """Predict (K, N, 18) waypoints in metres, vehicle frame at t, from raw samples.

        Raises:
            ValueError: If the samples lack a sensor that the models read, or a prediction is not finite.
        """
        available = Sensors.of(samples)
        missing = [name for name in self.sensors.signals if name not in available.signals]
        missing += ["gearShifter"] * (self.sensors.gear > available.gear)
        missing += ["traffic_lights"] * (self.sensors.lights > available.lights)
        if missing:
            raise ValueError(
                f"expected the sensors that the models were trained with, missing: {', '.join(missing)}: give them, or "
                "make a model (main) on drives without them"
            )
        run = _Run(self, samples)
        with ThreadPoolExecutor(1, "embed") as ahead:
            run.embed_in(ahead)
            by_fold_m = np.stack([run.predict(self.root, k) for k in range(self.folds)])
        if not np.isfinite(by_fold_m).all():
            odd = samples.ids[~np.isfinite(by_fold_m).all(axis=(0, 2))]
            raise ValueError(f"expected finite predictions, found others at {first_few(odd)}: is the model damaged?")
        return by_fold_m

    def predict(self, samples: Samples) -> FloatArray:
        """Predict (N, 18) waypoints in metres: the mean over the fold models."""
        return np.asarray(self.predict_by_fold(samples).mean(axis=0))


@dataclass
class _Run:
    """One prediction of a servable: every member predicts at most once per fold."""

    servable: Servable
    samples: Samples
    predicted: dict[tuple[str, int], FloatArray] = field(default_factory=dict)
    cells: dict[tuple[str, int], "Future[Any]"] = field(default_factory=dict)

    def embed_in(self, ahead: Executor) -> None:
        """Begin to embed the samples for every fold, while the other members predict."""
        from atma18.embedding import EmbedModel

        for run_id, member in self.servable.members.items():
            if isinstance(model := member.model, EmbedModel):
                for fold in range(self.servable.folds if model.config.view == "path" else 1):
                    cells = ahead.submit(model.cells, fold, self.samples, self.servable.device)
                    self.cells[run_id, fold] = cells

    def predict(self, run_id: str, fold: int) -> FloatArray:
        if (run_id, fold) not in self.predicted:
            member = self.servable.members[run_id]
            inputs = _LiveInputs(self, member.inputs | {EMBEDDING: member.inputs.get(EMBEDDING, run_id)})
            self.predicted[run_id, fold] = member.model.predict(fold, self.samples, inputs, self.servable.device)
        return self.predicted[run_id, fold]

    def embedding(self, run_id: str, fold: int) -> "EmbeddingFeatures":
        from atma18.embedding import EmbedModel

        model = self.servable.members[run_id].model
        if not isinstance(model, EmbedModel):
            raise TypeError(f"expected run {run_id} to be an embedding, found {type(model).__name__}")
        key = run_id, fold if model.config.view == "path" else 0
        return model.folds[fold].features(self.cells[key].result())


@dataclass(frozen=True)
class _LiveInputs:
    run: _Run
    run_ids: Mapping[str, str]

    def stacked(self, name: str, fold: int) -> FloatArray:
        return self.run.predict(self.run_ids[name], fold)

    def embedding(self, name: str, fold: int) -> "EmbeddingFeatures":
        return self.run.embedding(self.run_ids[name], fold)


def ranges_of(samples: Samples) -> dict[str, tuple[float, float]]:
    """Return the least and the largest value of the signals that are numbers."""
    numbers = samples.signals[[name for name in NUMERIC_SIGNALS if name in samples.signals]]
    return {str(name): (float(values.min()), float(values.max())) for name, values in numbers.items()}


def write(folder: Path, run_id: str, member: Member, folds: int, train: Samples, upstreams: Mapping[str, Path]) -> None:
    """Write a bundle with the files of a member and those of its upstreams' bundles.

    Args:
        folder: the new folder of the bundle.
        run_id: the run of the member.
        member: the model that predicts.
        folds: number of folds.
        train: the training samples, whose sensors a sample must have.
        upstreams: the bundle folder of each input, by its name in `member.inputs`.
    """
    (folder / OBJECTS).mkdir(parents=True)
    entries: dict[str, Any] = {}
    for upstream in map(Bundle.read, upstreams.values()):
        entries |= {member_id: asdict(entry) for member_id, entry in upstream.members.items()}
        for name in upstream.objects:
            link_or_copy(upstream.folder / OBJECTS / name, folder / OBJECTS / name)
    files = {}
    saved = folder / "saved"
    saved.mkdir()
    member.model.save(saved)
    for path in sorted(saved.iterdir()):
        files[path.name] = f"{digests.file_sha256(path)}{path.suffix}"
        path.replace(folder / OBJECTS / files[path.name])
    saved.rmdir()
    entry = Entry(member.step, member.inputs, files, member.model.describe(), member.model.causal)
    entries[run_id] = asdict(entry)
    described = {"root": run_id, "folds": folds, "sensors": asdict(Sensors.of(train)), "ranges": ranges_of(train)}
    bundle.write(folder, described | {"members": entries})


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source` if the file system can, else a copy; replace an existing file."""
    if target.exists() and target.samefile(source):
        return  # a rename between two links of one file leaves both names
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    beside.replace(target)


def load(folder: Path, device: str, sha256: str | None = None) -> Servable:
    """Load a bundle after checking the SHA-256 of every file.

    Args:
        folder: the folder of the bundle.
        device: device of nets.
        sha256: expected SHA-256 of `bundle.json`, from outside the folder; None skips this check.

    Raises:
        ValueError: If the folder is not a bundle, or another one; if a file is missing, changed or superfluous; or if a
            model cannot be built.
    """
    bundled = Bundle.read(folder)
    if sha256 is not None and bundled.sha256 != sha256:
        raise ValueError(
            f"{folder / bundle.FILE}: expected the file that the model was logged with, of SHA-256 {one_line(sha256)}, "
            f"found {bundled.sha256}: fetch the model again"
        )
    bundled.check_content()
    if sha256 is None:
        engines.check_readable(bundled.folder / OBJECTS / name for name in sorted(bundled.objects))
    sensors = Sensors(bundled.signals, bundled.gear, bundled.lights)
    models = bundled_models.read(bundled, device)
    return Servable(bundled.root, models, bundled.folds, sensors, device, bundled.ranges)
