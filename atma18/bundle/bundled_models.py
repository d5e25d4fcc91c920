"""The models of a bundle: build each one from its description and files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atma18.bundle.files import Bundle
from atma18.bundle.model import Model, Stored
from atma18.bundle.steps import STEPS, StepKind, backbone_of
from atma18.config import EMBEDDING
from atma18.schema import first_few, one_line, shown

_MOST_CELLS = 2**14
"""Upper limit of the number of cells in a bundle, which files of weights do not check; far above any backbone."""


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, OSError)
"""The errors that torch and XGBoost raise for files that are not a model."""


@dataclass(frozen=True)
class Member:
    """One model of a bundle."""

    step: str
    model: Model
    inputs: dict[str, str]
    """The run ID of each upstream, by the name of the model's input."""


def read(found: Bundle, device: str) -> dict[str, Member]:
    """Build the model of every member; nets will run on `device`.

    Raises:
        ValueError: If a model cannot be built from its description and files.
    """
    made = {run_id: _member(found, run_id, device) for run_id in found.members}
    for run_id, member in made.items():
        with _reading(found, run_id):
            _check_inputs(member, made)
    return made


def backbone_kinds(folder: Path) -> set[str]:
    """Return the kinds of backbones in a bundle, which decide the packages needed to load it."""
    found, kinds = Bundle.read(folder), set()
    for run_id, entry in found.members.items():
        if "backbone" in entry.model:
            with _reading(found, run_id):
                kinds.add(backbone_of(entry.model).kind)
    return kinds


def suffixes(folder: Path) -> set[str]:
    """Return the suffixes of the models' files in a bundle, which decide the packages needed to load it, too."""
    found = Bundle.read(folder)
    return {Path(name).suffix for run_id in found.members for name in found.files_of(run_id)}


def _member(found: Bundle, run_id: str, device: str) -> Member:
    """Build the model of a member.

    Raises:
        ValueError: If it cannot be built, or has no part for some fold.
    """
    entry = found.members[run_id]
    with _reading(found, run_id):
        _check_cells(entry.model.get("cells"))
        stored = Stored(entry.step, entry.model, found.files_of(run_id), found.signals, device)
        model = _kind(entry.step).load(stored)
        if model.count not in (None, found.folds):
            raise ValueError(f"expected models of {found.folds} folds, found {model.count}")
    return Member(entry.step, model, entry.inputs)


@contextmanager
def _reading(found: Bundle, run_id: str) -> Iterator[None]:
    """Convert errors inside to a ValueError that names the member."""
    try:
        yield
    except _UNREADABLE as error:
        step = shown(found.members[run_id].step)
        raise ValueError(
            f"{found.folder}: expected a model of {step} as member {shown(run_id)}, found something else "
            f"({type(error).__name__}: {one_line(str(error))}): make this bundle again"
        ) from error


def _kind(step: str) -> StepKind:
    if step not in STEPS:
        raise ValueError(f"expected a step that this version knows, found {shown(step)}")
    return STEPS[step]


def _check_inputs(member: Member, members: Mapping[str, Member]) -> None:
    """Refuse a member without an upstream for an input, or with embeddings from a model that makes none."""
    from atma18.embedding import EmbedModel

    wanted = set(member.model.needs)
    if missing := sorted(wanted - member.inputs.keys()):
        raise ValueError(f"expected an input for each that it reads, found none called {first_few(missing)}")
    if EMBEDDING in wanted and not isinstance(members[member.inputs[EMBEDDING]].model, EmbedModel):
        raise ValueError(f"expected input {EMBEDDING} to be an embedding, found another model")


def _check_cells(cells: object) -> None:
    if isinstance(cells, int) and cells > _MOST_CELLS:
        raise ValueError(f"expected cells of at most {_MOST_CELLS}, found {shown(cells)}")
