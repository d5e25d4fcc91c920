"""Conversion between option values and their text on the command line."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from atma18.config import bounds
from atma18.config.groups import Groups, check_groups, groups_as_text, scene_size_groups

Command = TypeVar("Command", bound=Callable[..., Any])


class GroupsType(click.ParamType[Groups]):
    """Scene sizes that share weights, such as 1-2,3+."""

    name = "groups"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Groups:  # noqa: ANN401
        """Parse the text."""
        try:
            groups = scene_size_groups(value)
            check_groups(groups)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return groups


class FiniteRange(click.FloatRange):
    """A finite number in a range; click lets NaN pass every bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Parse the text."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number, found {value}", param, ctx)
        return number


TYPES: Mapping[Any, Callable[[FieldInfo], click.ParamType[Any]]] = {
    bool: lambda field: click.BOOL,
    int: lambda field: click.IntRange(**_range(field)),
    float: lambda field: FiniteRange(**_range(field)),
    str: lambda field: click.STRING,
    Literal: lambda field: click.Choice(get_args(field.annotation)),
    Groups: lambda field: GroupsType(),
}
"""The click type for the fields of each type."""


def of_field(field: FieldInfo) -> click.ParamType[Any]:
    """Return the click type of a field."""
    kind = field.annotation if field.annotation in TYPES else get_origin(field.annotation)
    return TYPES[kind](field)


def _range(field: FieldInfo) -> dict[str, Any]:
    """Return a field's bounds as arguments of click's range types."""
    found = bounds(field)
    return {
        "min": found.get("ge", found.get("gt")),
        "max": found.get("le", found.get("lt")),
        "min_open": "gt" in found,
        "max_open": "lt" in found,
    }


def flag(name: str, default: bool, description: str) -> Callable[[Command], Command]:
    """Declare a boolean option."""
    return click.option(f"--{name}", default=default, type=click.BOOL, show_default=True, help=description)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Declare several options, in this order."""

    def declare(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return declare


def given(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the given values, without those that the preset decides."""
    return {name: value for name, value in values.items() if value is not None}


def as_typed(given: Mapping[str, Any]) -> dict[str, str]:
    """Return given values as they are typed on a command line."""

    def typed(value: Any) -> str:  # noqa: ANN401 - any option's value
        if isinstance(value, tuple):
            return groups_as_text(value)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return {name: typed(value) for name, value in given.items()}
