"""Check XGBoost's files before XGBoost reads them, because a wrong number in a file can crash the process.

XGBoost writes a subset of Universal Binary JSON: objects, arrays with their length in front, and strings.
"""

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atma18.schema import IntArray, one_line, shown
from atma18.storage import strict_json

OBJECTIVES = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror")
_DEEPEST = 12  # the maximum nesting of objects and arrays; XGBoost's files have seven levels
_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_NODES = {"left_children": "l", "right_children": "l", "parents": "l", "split_indices": "l"}
_NODES |= {"default_left": "U", "split_type": "U"}
_NODES |= dict.fromkeys(("base_weights", "loss_changes", "split_conditions", "sum_hessian"), "d")
"""The arrays with one number per node of a tree, and the type of each."""
_NOBODY = 2**31 - 1  # the parent of a root
_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")


def check(path: Path) -> int:
    """Check a file, and return the number of targets.

    Raises:
        ValueError: If it is not XGBoost's file of trees for one target, or of one that `joining` writes for several, or
            an index is out of range.
    """
    try:
        return _check_model(_Reader(path.read_bytes()).all())
    except (KeyError, TypeError, AttributeError, IndexError, struct.error, ValueError) as error:
        raise ValueError(
            f"{path}: expected trees as XGBoost writes them, found something else ({one_line(str(error))}): make this "
            "model again"
        ) from error


class _Reader:
    """A reader that moves forward through the bytes of a file."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def all(self) -> Any:  # noqa: ANN401 - any JSON value
        """Read the single value of the file."""
        value = self._value(self._take(1), 0)
        if self.place != len(self.content):
            raise ValueError("more behind the end")
        return value

    def _take(self, length: int) -> bytes:
        taken = self.content[self.place : self.place + length]
        if len(taken) != length:
            raise ValueError("cut short")
        self.place += length
        return taken

    def _value(self, kind: bytes, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        if depth > _DEEPEST:
            raise ValueError("too deep")
        if kind == b"{":
            return self._object(depth)
        if kind == b"[":
            return self._array(depth)
        if kind == b"S":
            return self._take(self._length()).decode()
        if kind in b"TF":
            return kind == b"T"
        return self._numbers(kind, 1)[0]

    def _length(self) -> int:
        if self._take(1) != b"L":
            raise ValueError("no length")
        return struct.unpack(">Q", self._take(8))[0]  # type: ignore[no-any-return]

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.content[self.place : self.place + 1] != b"}":
            key = self._take(self._length()).decode()
            if key in found:
                raise ValueError(f"{shown(key)} twice")
            found[key] = self._value(self._take(1), depth + 1)
        self.place += 1
        return found

    def _array(self, depth: int) -> Any:  # noqa: ANN401 - a list, or an array
        mark = self._take(1)
        kind = self._take(1) if mark == b"$" else b""
        if (self._take(1) if kind else mark) != b"#":
            raise ValueError("no length of an array")
        count = self._length()
        if kind:
            return self._numbers(kind, count)
        if count > len(self.content):
            raise ValueError("cut short")
        return [self._value(self._take(1), depth + 1) for _ in range(count)]

    def _numbers(self, kind: bytes, count: int) -> Any:  # noqa: ANN401 - an array
        dtype = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self._take(count * dtype.itemsize), dtype)


def _check_model(model: Mapping[str, Any]) -> int:
    """Check that the parts of a model are consistent, and return the number of targets."""
    learner = model["learner"]
    booster, numbers, names = learner["gradient_booster"], learner["learner_model_param"], learner["feature_names"]
    trees = booster["model"]["trees"]
    count = _number(booster["model"]["gbtree_model_param"]["num_trees"])
    _require(booster["name"] == "gbtree" and learner["objective"]["name"] in OBJECTIVES, "another kind of model")
    _require(all(isinstance(name, str) for name in [*names, *learner["feature_types"]]), "names that are no texts")
    targets = _number(numbers["num_target"])
    _require(targets >= 1 and _number(numbers["num_class"]) == 0, "classes")
    scores = strict_json.loads(numbers["base_score"])
    known = [isinstance(score, float | int) for score in (scores if isinstance(scores, list) else [scores])]
    _require(all(known) and len(known) == targets, "scores of other targets")
    _require(_number(numbers["num_feature"]) == len(names), "another number of features")
    of_target, rounds = booster["model"]["tree_info"], booster["model"]["iteration_indptr"]
    _require(count == len(trees) == len(of_target), "another number of trees")
    _require([tree["id"] for tree in trees] == list(range(count)), "trees in another order")
    _require(all(0 <= target < targets for target in of_target), "trees of no target")
    _require(rounds == (list(range(count + 1)) if targets == 1 else [0, count]), "trees in other rounds")
    _require(not any(len(value) for value in booster["model"]["cats"].values()), "categories")
    for tree in trees:
        _check_tree(tree, len(names))
    return targets


def _check_tree(tree: Mapping[str, Any], features: int) -> None:
    """Refuse a tree whose node indices are out of range or inconsistent."""
    nodes = _number(tree["tree_param"]["num_nodes"])
    _require(nodes >= 1 and _number(tree["tree_param"]["size_leaf_vector"]) <= 1, "a tree of another kind")
    _require(_number(tree["tree_param"]["num_feature"]) == features, "a tree of other features")
    for name, kind in _NODES.items():
        _require(tree[name].dtype == _NUMBERS[kind.encode()] and len(tree[name]) == nodes, f"{name} of another size")
    _require(not any(len(tree[name]) for name in _CATEGORIES) and not tree["split_type"].any(), "categories")
    split = tree["split_indices"]
    _require(bool(((split >= 0) & (split < max(features, 1))).all()), "a feature that there is not")
    left, right = tree["left_children"], tree["right_children"]
    _require(bool(((left == -1) == (right == -1)).all()), "half a split")
    _check_children(np.concatenate([left[left != -1], right[right != -1]]).astype(np.int64), nodes)
    parents = tree["parents"]
    _require(bool(((parents == _NOBODY) | ((parents >= 0) & (parents < nodes))).all()), "a parent that there is not")
    inner = np.flatnonzero(left != -1)
    true = parents[0] == _NOBODY and all(np.array_equal(parents[of[inner]], inner) for of in (left, right))
    _require(true, "a parent that is another's")


def _check_children(children: IntArray, nodes: int) -> None:
    """Refuse a child that does not exist, is the root or has two parents; then the nodes form a tree."""
    _require(len(children) == 0 or (children.min() >= 1 and children.max() < nodes), "a node that there is not")
    _require(len(children) == 0 or int(np.bincount(children).max()) == 1, "a circle")


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{shown(text)} for a number")
    return int(text)


def _require(valid: bool, found: str) -> None:
    if not valid:
        raise ValueError(found)
