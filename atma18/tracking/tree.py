"""Lineage as text: a tree of runs, each with its details where it appears first."""

import time
from collections.abc import Callable
from typing import TypeAlias

from atma18.tracking.lineage import SHORT, Lineage, Node

_NameOf: TypeAlias = Callable[[str, Node, Node], str]
_Leaves: TypeAlias = Callable[[Node], list[str]]


def as_tree(lineage: Lineage) -> str:
    """Draw a lineage: the run above its inputs, then its users. A repeated run is only named."""
    origin, users = lineage.origin, lineage.users
    shown = {users.run_id}
    blocks = [_block(_user_name(name, users, user), user, shown, _user_name, _nothing) for name, user in users.links]
    down = _block(origin.step or "run", origin, set(), _input_name, _data)
    return "\n".join([*down, "", "used by" if blocks else "used by no run", *_branches(blocks)])


def _block(label: str, node: Node, shown: set[str], name_of: _NameOf, leaves: _Leaves) -> list[str]:
    """Return the lines of a run and of its branches."""
    if node.run_id in shown:
        return [f"{label}: run {node.run_id}, above"]
    shown.add(node.run_id)
    blocks = [_block(name_of(name, node, other), other, shown, name_of, leaves) for name, other in node.links]
    blocks += [[leaf] for leaf in leaves(node)]
    bar = "│" if blocks else " "
    details = [f"{bar}     {line}" for line in _details(node)]
    return [f"{label}: run {node.run_id}, {node.status}", *details, *_branches(blocks)]


def _branches(blocks: list[list[str]]) -> list[str]:
    """Join blocks of lines as the branches of a tree."""
    lines = []
    for i, (first, *others) in enumerate(blocks, start=1):
        corner, trunk = ("└─ ", "   ") if i == len(blocks) else ("├─ ", "│  ")
        lines += [corner + first, *(trunk + line for line in others)]
    return lines


def _input_name(name: str, user: Node, used: Node) -> str:
    """Return the name that a run gives an input, with the input's step where it differs."""
    return name if used.step in (None, name) else f"{name} = {used.step}"


def _user_name(name: str, used: Node, user: Node) -> str:
    """Return the step of a user, with the name of the input where it differs."""
    step = user.step or "run"
    return step if name == used.step else f"{step} (as {name})"


def _details(node: Node) -> list[str]:
    """Return the details of a run: result, origin and problems."""
    mae = [] if node.mae_m is None else [f"OOF MAE {node.mae_m:.4f} m"]
    result = [*(str(version) for version in node.versions), *mae]
    origins = []
    if node.started_ms is not None:
        origins = [
            time.strftime("started %Y-%m-%d %H:%M:%S UTC", time.gmtime(node.started_ms / 1000)),
            f"git {node.git}",
        ]
    if node.code_sha256 is not None:
        origins.append(f"code {node.code_sha256[:SHORT]}")
    return [", ".join(side) for side in (result, origins) if side] + [f"BROKEN: {words}" for words in node.broken]


def _data(node: Node) -> list[str]:
    """Return the data and folds of a run, unless those of its inputs are the same."""
    if node.data_sha256 is None or any(used.data_sha256 == node.data_sha256 for _, used in node.links):
        return []
    data = f"data {node.data_sha256}" + ("" if node.data is None else f", given as {node.data}")
    return [data] if node.folds_sha256 is None else [data, f"folds {node.folds_sha256}"]


def _nothing(node: Node) -> list[str]:
    return []
