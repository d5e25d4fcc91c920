"""Configurations that were stored as JSON, by this version or by an earlier one."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from atma18.config.checking import explained
from atma18.config.embed import EmbedConfig
from atma18.config.gbdt import GbdtConfig
from atma18.config.nets import NetConfig
from atma18.quoting import shown

C = TypeVar("C")

RENAMED: Mapping[type, Mapping[str, str]] = {
    EmbedConfig: {"waves": "random_features"},
    NetConfig: {
        "reads": "modalities",
        "mixer": "sequence_head",
        "distort": "augment",
        "average": "ema_decay",
        "splits": "fold_repeats",
        "views": "cached_views",
        "view_noise": "feature_noise",
    },
}
"""What earlier versions called a field, and what it is called now."""

REMOVED: Mapping[type, Mapping[str, Any]] = {NetConfig: {"differences": False}, GbdtConfig: {"neighbours": False}}
"""Options of earlier versions that are gone, with the value that leaves everything as it is now."""


def from_json(kind: type[C], values: Any) -> C:  # noqa: ANN401 - any JSON value
    """Build a configuration from what `dataclasses.asdict` and JSON made of it, under today's names or earlier ones.

    Raises:
        ValueError: If a key is unknown, missing or there under two names, a value cannot be, or an option is on that
            this version does not have.
    """
    if isinstance(values, Mapping):
        values = _renamed(kind, _without_removed(kind, values))
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        raise ValueError(explained(kind, error)) from None


def _without_removed(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    removed = REMOVED.get(kind, {})
    for name, neutral in removed.items():
        if name in values and (type(values[name]), values[name]) != (type(neutral), neutral):
            raise ValueError(
                f"expected {name}={json.dumps(neutral)}, for this version has no such option, found "
                f"{shown(values[name])}: load this model with the code that it was logged with"
            )
    return {name: value for name, value in values.items() if name not in removed}


def _renamed(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = RENAMED.get(kind, {})
    if twice := [name for name, now in names.items() if name in values and now in values]:
        raise ValueError(f"expected {names[twice[0]]} under one name, found it as {twice[0]} too")
    return {names.get(name, name): value for name, value in values.items()}
