"""Bundles: a model with all it needs from raw frames on, as plain data in content-addressed files.

A bundle is a folder with `bundle.json` and `objects/<sha256>.<suffix>`. Its members are models by run ID; each upstream
is there once, however many members read it, and equal files are one file.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from atma18 import backbones, digests
from atma18.backbones import BackboneSpec
from atma18.blending import Blend
from atma18.embedding import EmbeddingFeatures, EmbedModel
from atma18.inputs import Inputs, StoredInputs
from atma18.netmodel import NetModel
from atma18.predictions import Predictions
from atma18.presets import EmbedConfig, GbdtConfig, NetConfig, config_from_json
from atma18.schema import TARGETS, FloatArray, IntArray, Samples
from atma18.stacking import EMBEDDING, GbdtModel

Model: TypeAlias = EmbedModel | NetModel | GbdtModel | Blend

_BUNDLE = "bundle.json"
OBJECTS = "objects"
_FORMAT = 1


@dataclass(frozen=True)
class Sensors:
    """What a sample must bring: the sensors that the training drives had."""

    signals: tuple[str, ...]
    gear: bool
    lights: bool

    @classmethod
    def of(cls, samples: Samples) -> Self:
        """Return what these samples bring."""
        return cls(tuple(samples.signals.columns), samples.gear is not None, samples.lights is not None)


def predict_fold(model: Model, fold: int, samples: Samples, inputs: Inputs, device: str) -> FloatArray:
    """Predict (N, 18) waypoints in metres with one fold's model: the one way, for OOF, test and serving alike."""
    match model:
        case EmbedModel():
            return model.predict(fold, samples, inputs.embedding(EMBEDDING, fold))
        case NetModel():
            return model.predict(fold, samples, device)
        case GbdtModel():
            return model.predict(fold, samples, inputs)
        case Blend():
            return model.apply(np.stack([inputs.stacked(name, fold) for name in model.inputs]), samples.scene_sizes)


def predict_all(
    model: Model,
    train: Samples,
    folds: IntArray,
    test: Samples,
    inputs: tuple[StoredInputs, StoredInputs],
    device: str,
    more_splits: Sequence[IntArray] = (),
) -> Predictions:
    """Predict each training sample with the models that never saw its scene, and each test sample with all.

    Args:
        model: of any step.
        train: the N training samples.
        folds: (N,) the fold of each.
        test: the M test samples.
        inputs: what the model reads of its upstreams, for training and for test samples.
        device: where nets run.
        more_splits: (N,) the fold of each training sample in the further splits that nets were trained on; its
            prediction is then the mean over splits, each of the net that never saw its scene.
    """
    train_inputs, test_inputs = inputs
    oof_m = np.zeros((len(train), len(TARGETS)))
    splits = [folds, *more_splits]
    for number, split in enumerate(splits):
        of_split = model.of_split(number) if isinstance(model, NetModel) else model
        for k in range(int(split.max()) + 1):
            rows = np.flatnonzero(split == k)
            oof_m[rows] += predict_fold(of_split, k, train.take(rows), train_inputs.take(rows), device) / len(splits)
    test_m = np.stack([predict_fold(model, k, test, test_inputs, device) for k in range(int(folds.max()) + 1)])
    return Predictions(train.ids, folds, oof_m, test.ids, test_m)


@dataclass(frozen=True)
class Member:
    """One model of a bundle."""

    step: str
    model: Model
    inputs: dict[str, str]
    """The run ID of each upstream, under the name by which the model reads it."""


@dataclass(frozen=True)
class Servable:
    """A model and all of its upstreams, ready to predict from raw samples."""

    root: str
    """The run ID of the model that answers."""
    members: dict[str, Member]
    folds: int
    sensors: Sensors
    device: str

    @property
    def causal(self) -> bool:
        """Whether samples may arrive one by one: no member looks at a later sample of a scene."""
        return all(member.model.causal for member in self.members.values())

    def predict_by_fold(self, samples: Samples) -> FloatArray:
        """Predict (K, N, 18) waypoints in metres, vehicle frame at t, from frames and signals alone.

        Raises:
            ValueError: If the samples lack a sensor that the models read.
        """
        found = Sensors.of(samples)
        missing = [name for name in self.sensors.signals if name not in found.signals]
        missing += ["gearShifter"] * (self.sensors.gear > found.gear)
        missing += ["traffic_lights"] * (self.sensors.lights > found.lights)
        if missing:
            raise ValueError(f"expected the sensors that the models were trained with, missing: {', '.join(missing)}")
        run = _Run(self, samples)
        return np.stack([run.predict(self.root, k) for k in range(self.folds)])

    def predict(self, samples: Samples) -> FloatArray:
        """Predict (N, 18) waypoints in metres: the mean over the fold models."""
        return np.asarray(self.predict_by_fold(samples).mean(axis=0))


@dataclass
class _Run:
    """One evaluation of a servable: every member predicts at most once per fold."""

    servable: Servable
    samples: Samples
    predicted: dict[tuple[str, int], FloatArray] = field(default_factory=dict)
    cells: dict[str, Any] = field(default_factory=dict)

    def predict(self, run_id: str, fold: int) -> FloatArray:
        if (run_id, fold) not in self.predicted:
            member = self.servable.members[run_id]
            inputs = _LiveInputs(self, member.inputs | {EMBEDDING: member.inputs.get(EMBEDDING, run_id)})
            self.predicted[run_id, fold] = predict_fold(member.model, fold, self.samples, inputs, self.servable.device)
        return self.predicted[run_id, fold]

    def embedding(self, run_id: str, fold: int) -> EmbeddingFeatures:
        model = self.servable.members[run_id].model
        if not isinstance(model, EmbedModel):
            raise TypeError(f"expected run {run_id} to be an embedding, found {type(model).__name__}")
        if run_id not in self.cells:
            self.cells[run_id] = model.cells(self.samples, self.servable.device)
        return model.folds[fold].features(self.cells[run_id])


@dataclass(frozen=True)
class _LiveInputs:
    run: _Run
    run_ids: Mapping[str, str]

    def stacked(self, name: str, fold: int) -> FloatArray:
        return self.run.predict(self.run_ids[name], fold)

    def embedding(self, name: str, fold: int) -> EmbeddingFeatures:
        return self.run.embedding(self.run_ids[name], fold)


def write(
    folder: Path, run_id: str, member: Member, folds: int, sensors: Sensors, upstreams: Mapping[str, Path]
) -> None:
    """Write a bundle: the member's own files, and those of its upstreams' bundles.

    Args:
        folder: is made.
        run_id: the member's run.
        member: the model that will answer.
        folds: number of fold models.
        sensors: what a sample must bring.
        upstreams: the bundle folder of each input, by its name in `member.inputs`.
    """
    (folder / OBJECTS).mkdir(parents=True)
    members: dict[str, Any] = {}
    for upstream in upstreams.values():
        members |= json.loads((upstream / _BUNDLE).read_text())["members"]
        for found in (upstream / OBJECTS).iterdir():
            link_or_copy(found, folder / OBJECTS / found.name)
    files = {}
    saved = folder / "saved"
    saved.mkdir()
    if not isinstance(member.model, Blend):
        member.model.save(saved)
    for path in sorted(saved.iterdir()):
        files[path.name] = f"{digests.file_sha256(path)}{path.suffix}"
        path.replace(folder / OBJECTS / files[path.name])
    saved.rmdir()
    members[run_id] = {"step": member.step, "inputs": member.inputs, "files": files, "model": _describe(member.model)}
    bundle = {"format": _FORMAT, "root": run_id, "folds": folds, "sensors": asdict(sensors), "members": members}
    (folder / _BUNDLE).write_text(json.dumps(bundle, indent=1, sort_keys=True))


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` where the file system can, else a copy; replace what is there."""
    if target.exists() and target.samefile(source):
        return  # renaming a file onto itself would leave both names
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        os.link(source, beside)
    except OSError:
        shutil.copyfile(source, beside)
    beside.replace(target)


def load(folder: Path, device: str) -> Servable:
    """Load a bundle whose every file has the SHA-256 that its name says.

    Raises:
        ValueError: If the bundle has another format, or a file is missing or was changed.
    """
    bundle = json.loads((folder / _BUNDLE).read_text())
    if bundle["format"] != _FORMAT:
        raise ValueError(f"{folder}: expected a bundle of format {_FORMAT}, found {bundle['format']}")
    sensors = Sensors(**(bundle["sensors"] | {"signals": tuple(bundle["sensors"]["signals"])}))
    members = {
        run_id: Member(entry["step"], _revive(folder, entry, sensors, device), entry["inputs"])
        for run_id, entry in bundle["members"].items()
    }
    return Servable(bundle["root"], members, bundle["folds"], sensors, device)


def backbone_kinds(folder: Path) -> set[str]:
    """Return the kinds of backbones in a bundle: what must be installed where it is loaded."""
    members = json.loads((folder / _BUNDLE).read_text())["members"].values()
    return {member["model"]["backbone"]["kind"] for member in members if "backbone" in member["model"]}


def _describe(model: Model) -> dict[str, Any]:
    """Return what a model is, apart from its files."""
    match model:
        case EmbedModel() | NetModel():
            return {"config": asdict(model.config), "backbone": asdict(model.spec)}
        case GbdtModel():
            return {"config": asdict(model.config), "stack": model.stack, "cells": model.cells}
        case Blend():
            return model.to_json()


def _revive(folder: Path, entry: Mapping[str, Any], sensors: Sensors, device: str) -> Model:
    files = {name: _checked(folder / OBJECTS / found) for name, found in entry["files"].items()}
    step, described = entry["step"], entry["model"]
    match step:
        case "embed":
            embed_config = config_from_json(EmbedConfig, described["config"])
            return EmbedModel.load(embed_config, _backbone(described), files, device)
        case "nn1" | "nn2":
            net_config = config_from_json(NetConfig, described["config"])
            return NetModel.load(step, net_config, _backbone(described), sensors.signals, files, device)
        case "gbdt":
            config = config_from_json(GbdtConfig, described["config"])
            return GbdtModel.load(config, described["stack"], described["cells"], files)
        case "blend":
            return Blend.from_json(described)
        case _:
            raise ValueError(f"{folder}: expected a step that this version knows, found {step!r}")


def _backbone(described: Mapping[str, Any]) -> BackboneSpec:
    """Return what a member's backbone is; bundles from before it was told have one that its name tells."""
    if "backbone" in described:
        return config_from_json(BackboneSpec, described["backbone"])
    name = described["config"]["backbone"]
    return replace(backbones.find(f"{name}@none").spec, name=name)


def _checked(path: Path) -> Path:
    if not path.is_file() or digests.file_sha256(path) != path.stem:
        raise ValueError(f"{path}: expected a file with this SHA-256, found {'another' if path.is_file() else 'none'}")
    return path
