"""Configurations check themselves; a value that cannot be is refused as expected, found."""

from dataclasses import fields
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from atma18.config.fields import allowed, fields_of
from atma18.quoting import shown

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""No value is converted but a whole number to a float, and no field is passed over."""

C = TypeVar("C")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def checked(kind: type[C]) -> type[C]:
    """Make a class a frozen dataclass whose values are checked whenever one is made, by `dataclasses.replace` too.

    The docstring below a field is its description; rules over several fields stand in `__post_init__`.
    """
    made: Any = dataclass(frozen=True, config=ConfigDict(**STRICT, use_attribute_docstrings=True))(kind)
    positional = [field.name for field in fields(made) if not field.kw_only]
    check = made.__init__

    def __init__(self: object, *args: Any, **values: Any) -> None:  # noqa: ANN401, N807 - becomes the class's own
        if len(args) > len(positional):
            raise TypeError(
                f"{kind.__name__}: expected at most {len(positional)} values without names, found {len(args)}"
            )
        named = dict(zip(positional, args, strict=False))  # pydantic would call these by their numbers
        try:
            check(self, **named, **values)
        except ValidationError as error:
            raise ValueError(explained(made, error)) from None

    made.__init__ = __init__
    checked_kind: type[C] = made
    return checked_kind


def explained(kind: type, error: ValidationError) -> str:
    """Say of the first thing that is wrong what was expected and what was found."""
    first = error.errors(include_url=False)[0]
    found, place = shown(first["input"]), [part for part in first["loc"] if isinstance(part, str)]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if not place:
        return f"expected the settings of {kind.__name__} as an object, found {found}"
    match first["type"]:
        case "unexpected_keyword_argument":
            return f"expected settings that {kind.__name__} has, found {shown(place[-1])}"
        case "missing" | "missing_argument":
            return f"expected {place[-1]}, found none"
        case "too_short":
            return f"expected {place[-1]} of at least {first['ctx']['min_length']} number, found {found}"
        case "dataclass_type" | "dataclass_exact_type":
            return f"expected {place[-1]} of type {first['ctx']['class_name']}, found {found}"
        case wrong_type if wrong_type.endswith("_type"):
            return f"expected {place[-1]} of type {wrong_type.removesuffix('_type')}, found {found}"
    return f"expected {place[-1]} {_allowed_at(kind, place)}, found {found}"


def _allowed_at(kind: Any, place: list[str]) -> str:  # noqa: ANN401 - any annotation
    """Say which values are allowed at a place inside a configuration."""
    for name in place[:-1]:
        kind = fields_of(kind)[name].annotation
    field = fields_of(kind).get(place[-1])
    return (field and allowed(field)) or "that can be"
