"""The fields of a configuration as a table, for docs/options.md."""

from collections.abc import Collection
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from atma18.config.fields import allowed, description, varied
from atma18.config.groups import Groups, groups_as_text
from atma18.config.presets import PRESETS


def table(step: str, names: Collection[str]) -> str:
    """Return what each preset decides of a step: a row for each of its configuration's fields of these names."""
    configs = {name: getattr(preset, step) for name, preset in PRESETS.items()}
    rows = [["option", "values", *(f"`{name}`" for name in configs), "what it is"]]
    rows.append(["---"] * len(rows[0]))
    for name, field in varied(type(configs["quick"])).items():
        if name in names:
            decided = [", then ".join(dict.fromkeys(_values(config, name))) for config in configs.values()]
            rows.append([f"`{name}`", _kind(field), *decided, description(field)])
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    """Return rows of cells as a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _kind(field: FieldInfo) -> str:
    """Say which values a field allows."""
    kind: Any = field.annotation
    if kind == Groups:
        return "groups"
    if get_origin(kind) is None:
        words = {bool: "true, false", int: "whole number", float: "number", str: "text"}[kind]
        return " ".join([words, allowed(field)]).strip()
    return ", ".join(f"`{choice}`" for choice in get_args(kind))


def _values(config: Any, name: str) -> list[str]:  # noqa: ANN401 - any configuration
    """Return a field's value as a person types it; that of either stage, where stages have it."""
    owners = [config] if hasattr(config, name) else [config.first, config.second]
    return [_typed(getattr(owner, name)) for owner in owners]


def _typed(value: Any) -> str:  # noqa: ANN401 - any field's value
    if isinstance(value, tuple):
        return groups_as_text(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
