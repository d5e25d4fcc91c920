"""How values are typed on a command line, and back: a value, or a word that leaves it to somebody else."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from atma18.config.groups import Groups, check_groups, groups_as_text, scene_size_groups
from atma18.run_context import PRESET

Command = TypeVar("Command", bound=Callable[..., Any])

NONE = "none"
"""The word for an input that is not there."""


class OrWord(click.ParamType[Any]):
    """A value, or a word that stands for none being given and becomes None."""

    def __init__(self, kind: click.ParamType[Any], word: str) -> None:
        self.kind = kind
        self.word = word
        self.name = f"{kind.name}|{word}"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """Show the choices, or the kind of value."""
        words = self.kind.choices if isinstance(self.kind, click.Choice) else [self.kind.name.upper()]
        return f"[{'|'.join([*words, self.word])}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Turn the text into the value, or into None."""
        return None if value == self.word else self.kind.convert(value, param, ctx)


def or_preset(name: str, kind: click.ParamType[Any], description: str) -> Callable[[Command], Command]:
    """Declare an option that the preset decides unless it is given."""
    return _or_word(name, kind, PRESET, description)


def or_none(name: str, kind: click.ParamType[Any], description: str) -> Callable[[Command], Command]:
    """Declare an option that may be left out."""
    return _or_word(name, kind, NONE, description)


def _or_word(name: str, kind: click.ParamType[Any], word: str, description: str) -> Callable[[Command], Command]:
    return click.option(f"--{name}", default=word, type=OrWord(kind, word), show_default=True, help=description)


def flag(name: str, default: bool, description: str) -> Callable[[Command], Command]:
    """Declare an option that is true or false."""
    return click.option(f"--{name}", default=default, type=click.BOOL, show_default=True, help=description)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Declare several options, in this order."""

    def declare(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return declare


class GroupsType(click.ParamType[Groups]):
    """Scene sizes that share weights, such as 1-2,3+."""

    name = "groups"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Groups:  # noqa: ANN401
        """Read the text."""
        try:
            groups = scene_size_groups(value)
            check_groups(groups)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return groups


def given(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the values that were given, without those left to the preset."""
    return {name: value for name, value in values.items() if value is not None}


def as_typed(given: dict[str, Any]) -> dict[str, str]:
    """Return given values as a person types them."""

    def typed(value: Any) -> str:  # noqa: ANN401 - any option's value
        if isinstance(value, tuple):
            return groups_as_text(value)
        return str(value).lower() if isinstance(value, bool) else str(value)

    return {name: typed(value) for name, value in given.items()}
