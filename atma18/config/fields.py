"""What the fields of a configuration allow, for messages, options and the page of options."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic.fields import FieldInfo

T = TypeVar("T")

FIXED = "decided by the preset"
Fixed = Annotated[T, FIXED]
"""The type of a field that no option varies."""

_BOUNDS = ("ge", "gt", "le", "lt")


def fields_of(config: type) -> dict[str, FieldInfo]:
    """Return the fields of a configuration by name; none of another class."""
    found: dict[str, FieldInfo] = getattr(config, "__pydantic_fields__", {})
    return found


def varied(config: type) -> dict[str, FieldInfo]:
    """Return the fields that an experiment may vary by name, those of a configuration inside it among them."""
    found: dict[str, FieldInfo] = {}
    for name, field in fields_of(config).items():
        inner = field.annotation
        if isinstance(inner, type) and fields_of(inner):
            found |= varied(inner)
        elif FIXED not in field.metadata:
            found[name] = field
    return found


def description(field: FieldInfo) -> str:
    """Return what is said of a field, on one line."""
    return " ".join(str(field.description).split())


def bounds(field: FieldInfo) -> dict[str, float]:
    """Return the bounds of a number, or of each number of a tuple, under pydantic's names: ge, gt, le, lt."""
    return _bounds_of(field.metadata) | _bounds_inside(field.annotation)


def allowed(field: FieldInfo) -> str:
    """Say in words which values a field allows, to follow its name; empty if its type says it all."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    limits = bounds(field)
    least = f"{limits['ge']}" if "ge" in limits else None
    match limits:
        case {"gt": low, **rest} if not rest:
            return f"above {low}"
        case {"ge": _, **rest} if not rest:
            return f"of at least {least}"
        case {"ge": _, "le": high}:
            return f"from {least} to {high}"
        case {"ge": _, "lt": high}:
            return f"from {least} to below {high}"
        case _:
            return ""


def _bounds_inside(annotation: Any) -> dict[str, float]:  # noqa: ANN401 - any annotation
    found: dict[str, float] = {}
    for part in get_args(annotation):
        if get_origin(part) is Annotated:
            found |= _bounds_of(part.__metadata__)
        elif get_origin(part) is tuple:  # of a field that may be none, too
            found |= _bounds_inside(part)
    return found


def _bounds_of(rules: Iterable[Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for rule in rules:
        if isinstance(rule, FieldInfo):
            found |= _bounds_of(rule.metadata)
        found |= {name: getattr(rule, name) for name in _BOUNDS if getattr(rule, name, None) is not None}
    return found
