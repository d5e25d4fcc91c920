"""JSON that everybody can read: UTF-8, each key once, limited nesting; what is written holds no NaN."""

import json
import math
from collections.abc import Mapping
from typing import Any

from atma18.schema import one_line

DEEPEST = 20
"""The maximum nesting of lists and objects; a bundle has nine levels. Python's own limit raises a RecursionError."""


def loads(content: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse one JSON value; NaN and Infinity are numbers, as Python writes them.

    Raises:
        ValueError: If it is no JSON, repeats a key, or is nested too deeply.
    """
    try:
        value = json.loads(content.decode() if isinstance(content, bytes) else content, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        raise ValueError(f"expected JSON in UTF-8, found something else ({one_line(str(error))})") from error
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
        if not level:
            return value
    raise _too_deep()


def dumps(value: Any, indent: int | None = None) -> str:  # noqa: ANN401 - any JSON value
    """Return JSON text with null for numbers that are not finite: NaN and Infinity are no JSON (RFC 8259)."""
    separators = (",", ":") if indent is None else None
    return json.dumps(_finite(value), indent=indent, separators=separators, allow_nan=False)


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _inside(outer: dict[str, Any] | list[Any]) -> list[Any]:
    return outer if isinstance(outer, list) else list(outer.values())


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key of an object is repeated")
    return found


def _too_deep() -> ValueError:
    return ValueError(f"expected JSON of at most {DEEPEST} levels, found more")
