"""Options that entry points share, and the context in which a step runs and reports wrong input."""

import os
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atma18.config import BACKBONES, PRESETS, description, varied
from steps.messages import clear_messages
from steps.typed import Command, flag, of_field, together

if TYPE_CHECKING:  # libraries that take seconds are imported where they are used, so that --help answers at once
    from atma18.run_context import RunContext


@dataclass(frozen=True)
class Setting:
    """The options of every step."""

    data: str
    preset: str
    folds: str | None
    fold_seed: int
    seed: int
    verify: bool

    def open(self, given: Mapping[str, Any] | None = None) -> "RunContext":
        """Read the data, make the folds, and print notes for the user.

        Args:
            given: the given options; their backbones are searched first, because reading the data takes minutes.
        """
        from atma18 import backbones, checks, tracking
        from atma18.cache import Cache
        from atma18.run_context import RunContext

        for name in [value for option, value in (given or {}).items() if option.endswith("backbone")]:
            backbones.find(name)
        cache = Cache.open()
        context = RunContext.open(
            self.data,
            self.preset,
            self.folds,
            self.fold_seed,
            self.seed,
            cache,
            adopt=lambda run: tracking.folds_of(run, cache),
            verify=self.verify,
        )
        context = replace(context, suspicions=tuple(map(str, checks.check_once(context.dataset, cache))))
        for suspicion in context.suspicions:
            click.echo(f"{self.data}: {suspicion}", err=True)
        if absent := context.dataset.absent:
            click.echo(f"{self.data}: these drives have no {', '.join(absent)}; the models do without")
        if context.preset.for_gpu and context.machine.device == "cpu":
            click.echo(
                f"preset={self.preset} is meant for a GPU: on this CPU the competition's data would take many hours"
            )
        return context


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Declare the options of every step, and pass them to the command as a `Setting`, its first argument."""

    @wraps(command)
    def with_setting(**values: Any) -> None:  # noqa: ANN401
        setting = Setting(**{field.name: values.pop(field.name) for field in fields(Setting)})
        command(setting, **values)

    return together(
        click.option("--data", default="demo", show_default=True, help="Dataset folder, or demo: simulated drives."),
        click.option(
            "--preset",
            default="quick",
            type=click.Choice(sorted(PRESETS)),
            show_default=True,
            help="Decides every option that is not given.",
        ),
        left_to_preset("folds", click.STRING, "Number of folds, or a run whose folds to use."),
        click.option("--fold_seed", default=0, show_default=True, help="Draws the folds, and nothing else."),
        click.option("--seed", default=0, show_default=True, help="Draws everything but the folds."),
        flag("verify", False, "Read every frame again even if its file looks unchanged."),
    )(with_setting)


def of(config: type, prefix: str = "", without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Declare an option for each field of a configuration that may be varied.

    Args:
        config: the configuration class of a step.
        prefix: the prefix of the option names.
        without: fields that are no options of the entry point.
    """
    chosen = {name: field for name, field in varied(config).items() if name not in without}
    options = (left_to_preset(f"{prefix}{n}", of_field(field), description(field)) for n, field in chosen.items())
    return together(*options)


def left_to_preset(name: str, kind: click.ParamType[Any], words: str) -> Callable[[Command], Command]:
    """Declare an option that is None unless it is given; then the preset decides."""
    return click.option(f"--{name}", type=kind, show_default="the preset's", help=words)


def causal(command: Command) -> Command:
    """Declare the option of all steps that excludes later samples of a scene."""
    return left_to_preset("causal", click.BOOL, "Look at earlier samples of the scene only.")(command)


def backbone(command: Command) -> Command:
    """Declare the option for the backbone of all steps."""
    return left_to_preset("backbone", click.STRING, f"The image backbone of all steps: {BACKBONES}.")(command)


def init(command: Command) -> Command:
    """Declare the option for the run from which a stage starts."""
    return click.option("--init", help="For stage=second: a run of stage=first. For stage=head: a run of nn1.")(command)


def reuse(command: Command) -> Command:
    """Declare the option to reuse identical finished runs."""
    return flag("reuse", True, "Take finished runs of the very same.")(command)


def out(command: Command) -> Command:
    """Declare the option for the path of the submission."""
    place = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(
        "--out",
        default="submission.csv",
        show_default=True,
        type=place,
        callback=_can_be_made,
        help="Where the submission is written.",
    )(command)


def _can_be_made(context: click.Context, option: click.Parameter, place: Path) -> Path:
    """Refuse a path that cannot be written, before hours of work."""
    nearest = next(folder for folder in place.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise click.BadParameter(f"expected a place where a file can be written, found {nearest} in the way")
    return place


@contextmanager
def running(step: str) -> Iterator[str]:
    """Open the run of a step and yield its ID; on wrong input, end with the error message alone."""
    from atma18 import tracking

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that SIGTERM closes the run
    with clear_messages(), tracking.command_run(step) as run_id:
        yield run_id
