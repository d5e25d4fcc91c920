"""The members of a bundle: what is said of each model, and each model made of what is said."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from atma18 import backbones
from atma18.backbones import BackboneSpec
from atma18.blending import Blend
from atma18.bundle.files import Bundle, Entry
from atma18.config import EmbedConfig, GbdtConfig, NetConfig, from_json
from atma18.embedding import EmbedModel
from atma18.gbdt.boosting import EngineError
from atma18.gbdt.stacking import EMBEDDING, GbdtModel
from atma18.nets.model import NetModel
from atma18.schema import first_few, one_line, shown

Model: TypeAlias = EmbedModel | NetModel | GbdtModel | Blend

_MOST_CELLS = 2**14
"""Far beyond what any backbone makes of a frame: no file could contradict a bundle that asks for more in time."""


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, OSError, EngineError)
"""What reading another thing than a model may end in, by hand of torch and of the boosters' engines."""


@dataclass(frozen=True)
class Member:
    """One model of a bundle."""

    step: str
    model: Model
    inputs: dict[str, str]
    """The run ID of each upstream, under the name by which the model reads it."""


def describe(model: Model) -> dict[str, Any]:
    """Return what a model is, apart from its files."""
    match model:
        case EmbedModel() | NetModel():
            return {"config": asdict(model.config), "backbone": asdict(model.spec)}
        case GbdtModel():
            return {"config": asdict(model.config), "stack": model.stack, "cells": model.cells}
        case Blend():
            return model.to_json()


def read(found: Bundle, device: str) -> dict[str, Member]:
    """Make every member's model; nets will run on `device`.

    Raises:
        ValueError: If a model cannot be made of what is said and of what its files hold.
    """
    made = {run_id: _member(found, run_id, device) for run_id in found.members}
    for run_id, member in made.items():
        with _reading(found, run_id):
            _check_inputs(member, made)
    return made


def backbone_kinds(folder: Path) -> set[str]:
    """Return the kinds of backbones in a bundle: what must be installed where it is loaded."""
    found, kinds = Bundle.read(folder), set()
    for run_id, entry in found.members.items():
        if "backbone" in entry.model:
            with _reading(found, run_id):
                kinds.add(_backbone(entry.model).kind)
    return kinds


def _member(found: Bundle, run_id: str, device: str) -> Member:
    """Make a member's model of what the bundle says of it.

    Raises:
        ValueError: If none can be made of it, or it has not a part for each fold.
    """
    entry = found.members[run_id]
    with _reading(found, run_id):
        model = _revive(entry, found.files_of(run_id), found.signals, device)
        if not isinstance(model, Blend):
            _check_folds(model, found.folds)
    return Member(entry.step, model, entry.inputs)


@contextmanager
def _reading(found: Bundle, run_id: str) -> Iterator[None]:
    """Let whatever fails inside end in a ValueError that names the member."""
    try:
        yield
    except _UNREADABLE as error:
        step = shown(found.members[run_id].step)
        raise ValueError(
            f"{found.folder}: expected a model of {step} as member {shown(run_id)}, found something else "
            f"({type(error).__name__}: {one_line(str(error))}): make this bundle again"
        ) from error


def _check_folds(model: EmbedModel | NetModel | GbdtModel, folds: int) -> None:
    count = model.count if isinstance(model, NetModel) else len(model.folds)
    if count != folds:
        raise ValueError(f"expected models of {folds} folds, found {count}")


def _check_inputs(member: Member, members: Mapping[str, Member]) -> None:
    """Refuse a member that reads what it has no upstream for, or embeddings of a model that makes none."""
    match member.model:
        case GbdtModel(stack=names):
            wanted = {*names, EMBEDDING}
        case Blend(inputs=names):
            wanted = set(names)
        case _:
            wanted = set()
    if missing := sorted(wanted - member.inputs.keys()):
        raise ValueError(f"expected an input for each that it reads, found none called {first_few(missing)}")
    if EMBEDDING in wanted and not isinstance(members[member.inputs[EMBEDDING]].model, EmbedModel):
        raise ValueError(f"expected input {EMBEDDING} to be an embedding, found another model")


def _revive(entry: Entry, files: Mapping[str, Path], signals: tuple[str, ...], device: str) -> Model:
    step, described = entry.step, entry.model
    _check_cells(described.get("cells"))
    match step:
        case "embed":
            embed_config = from_json(EmbedConfig, described["config"])
            return EmbedModel.load(embed_config, _backbone(described), files, device)
        case "nn1" | "nn2":
            net_config = from_json(NetConfig, described["config"])
            return NetModel.load(step, net_config, _backbone(described), signals, files, device)
        case "gbdt":
            config = from_json(GbdtConfig, described["config"])
            return GbdtModel.load(config, described["stack"], described["cells"], files)
        case "blend":
            return Blend.from_json(described)
        case _:
            raise ValueError(f"expected a step that this version knows, found {shown(step)}")


def _check_cells(cells: object) -> None:
    if isinstance(cells, int) and cells > _MOST_CELLS:
        raise ValueError(f"expected cells of at most {_MOST_CELLS}, found {shown(cells)}")


def _backbone(described: Mapping[str, Any]) -> BackboneSpec:
    """Return what a member's backbone is; bundles from before it was told have one that its name tells."""
    if "backbone" in described:
        return from_json(BackboneSpec, described["backbone"])
    name = described["config"]["backbone"]
    return replace(backbones.find(f"{name}@none").spec, name=name)
