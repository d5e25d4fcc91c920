"""The options that entry points share, and how a person's mistakes reach them as one clear message."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from atma18 import backbones, tracking
from atma18.cache import Cache
from atma18.experiment import PRESET, Experiment
from atma18.groups import Groups, check_groups, groups_as_text, scene_size_groups
from atma18.presets import (
    BLEND_METHODS,
    BOOSTED_TARGETS,
    ENGINES,
    MIXERS,
    MIXES,
    NET_READS,
    NET_TARGETS,
    OBJECTIVES,
    PIXELS,
    PRESETS,
)
from steps.messages import clear_messages

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


@dataclass(frozen=True)
class Setting:
    """What every step takes."""

    data: str
    preset: str
    folds: str
    fold_seed: int
    seed: int
    verify: bool

    def open(self) -> Experiment:
        """Read the data and make the folds, and say what a person should know of them."""
        cache = Cache.open()
        experiment = Experiment.open(
            self.data,
            self.preset,
            self.folds,
            self.fold_seed,
            self.seed,
            cache,
            adopt=lambda run: tracking.folds_of(run, cache),
            verify=self.verify,
        )
        if absent := experiment.dataset.absent:
            click.echo(f"{self.data}: these drives have no {', '.join(absent)}; the models do without")
        if experiment.preset.for_gpu and experiment.machine.device == "cpu":
            click.echo(
                f"preset={self.preset} is meant for a GPU: on this CPU the competition's data would take many hours"
            )
        return experiment


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Declare the options of every step and pass them to the command as its first argument."""

    @wraps(command)
    def with_setting(**values: Any) -> None:  # noqa: ANN401
        setting = Setting(**{field.name: values.pop(field.name) for field in fields(Setting)})
        command(setting, **values)

    return _together(
        click.option("--data", default="demo", show_default=True, help="Dataset folder, or demo: simulated drives."),
        click.option("--preset", default="quick", type=click.Choice(sorted(PRESETS)), show_default=True),
        click.option(
            "--folds", default=PRESET, show_default=True, help="Number of folds, or a run whose folds to use."
        ),
        click.option("--fold_seed", default=0, show_default=True, help="Draws the folds, and nothing else."),
        click.option("--seed", default=0, show_default=True, help="Draws everything but the folds."),
        flag("verify", False, "Read every frame again even if its file looks unchanged."),
    )(with_setting)


def reuse(command: Command) -> Command:
    """Declare whether finished runs may stand in for new ones."""
    return flag("reuse", True, "Take finished runs of the very same.")(command)


def flag(name: str, default: bool, description: str) -> Callable[[Command], Command]:
    """Declare an option that is true or false."""
    return click.option(f"--{name}", default=default, type=click.BOOL, show_default=True, help=description)


def _target(prefix: str) -> Callable[[Command], Command]:
    words = "Metres, or the difference to constant speed, or to a motion model fitted in the fold."
    return or_preset(f"{prefix}target", click.Choice(NET_TARGETS), words)


def _by_speed(prefix: str) -> Callable[[Command], Command]:
    return or_preset(f"{prefix}by_speed", click.BOOL, "Say the difference per metre driven, not per second.")


def _pixels(prefix: str) -> Callable[[Command], Command]:
    words = "RGB as the weights expect it, in [0, 1] as the published nets, or 0 to 255 as the published embedding."
    return or_preset(f"{prefix}pixels", click.Choice(PIXELS), words)


def embedding(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the options of embed that an experiment varies."""
    return _together(
        _pixels(prefix),
        or_preset(f"{prefix}svd_components", click.INT, "Components kept per cell."),
        or_preset(f"{prefix}waves", click.INT, "Random cosines that the probe reads beside the features."),
        _target(prefix),
        _by_speed(prefix),
    )


def net(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the options of a net's training that an experiment varies."""
    return _together(
        _pixels(prefix),
        _target(prefix),
        _by_speed(prefix),
        or_preset(f"{prefix}context", click.BOOL, "Read what the other samples of the scene say."),
        or_preset(f"{prefix}mirror", click.BOOL, "Train and predict on both sides of a mirror."),
        or_preset(f"{prefix}reads", click.Choice(NET_READS), "Frames and signals, or the frames alone."),
        or_preset(f"{prefix}differences", click.BOOL, "See the frame at t and what changed since, not three frames."),
        or_preset(f"{prefix}distort", click.BOOL, "Blur, disturb, shift or partly cover frames in training."),
        or_preset(
            f"{prefix}average", click.FLOAT, "Decay per step of the average of weights that is kept; 0: the last."
        ),
        or_preset(f"{prefix}splits", click.INT, "Nets per fold: further ones belong to other fold splits and seeds."),
        or_preset(f"{prefix}batch_size", click.INT, "Samples (nn1) or scenes (nn2) per step."),
        or_preset(f"{prefix}learning_rate", click.FLOAT, "Highest learning rate of the schedule."),
        or_preset(f"{prefix}weight_decay", click.FLOAT, "AdamW's weight decay."),
        or_preset(f"{prefix}num_epochs", click.INT, "Epochs of each stage."),
        or_preset(f"{prefix}num_layers", click.INT, "Hidden layers of the MLP (nn1), layers of the LSTM (nn2)."),
        or_preset(f"{prefix}views", click.INT, "Changed views of a sample that a frozen backbone looks at once."),
        or_preset(f"{prefix}view_noise", click.FLOAT, "Noise on these views, in standard deviations of each channel."),
    )


def over_scenes(prefix: str = "") -> Callable[[Command], Command]:
    """Declare what nn2 has beyond nn1."""
    return or_preset(f"{prefix}mixer", click.Choice(MIXERS), "How nn2 looks over the samples of a scene.")


def stages(command: Command) -> Command:
    """Declare which stages of a net are trained, and from what."""
    stage = or_preset("stage", click.Choice(["first", "second", "both"]), "Backbone frozen, all weights, or both.")
    init = or_none("init", click.STRING, "For stage=second: a run of stage=first.")
    return stage(init(command))


def boosting(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the options of gbdt that an experiment varies."""
    return _together(
        or_preset(
            f"{prefix}engine",
            click.Choice(ENGINES),
            "What grows trees; catboost-multi: one for all targets; both: in turns by bag.",
        ),
        or_preset(
            f"{prefix}target",
            click.Choice(BOOSTED_TARGETS),
            "Metres, or the difference to constant speed, a motion model fitted in the fold, or the mean of the nets.",
        ),
        or_preset(f"{prefix}objective", click.Choice(OBJECTIVES), "The loss of a tree's leaves."),
        or_preset(f"{prefix}motion", click.BOOL, "Read where the fitted motion model says that the car goes."),
        or_preset(f"{prefix}neighbours", click.BOOL, "Read what the nets predict for the samples before and after."),
        or_preset(f"{prefix}probe", click.BOOL, "Read what the probe of embed predicts."),
        or_preset(f"{prefix}light_geometry", click.BOOL, "Read where the largest light of each colour is."),
        or_preset(f"{prefix}learning_rate", click.FLOAT, "Share of each tree."),
        or_preset(f"{prefix}rounds", click.INT, "Most rounds of boosting."),
        or_preset(f"{prefix}max_depth", click.INT, "Most splits from the root of a tree to a leaf."),
        or_preset(f"{prefix}bags", click.INT, "Boosters per target, each stopped early on other scenes."),
    )


class _Groups(click.ParamType[Groups]):
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


def blending(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the options of blend that an experiment varies."""
    return _together(
        or_preset(f"{prefix}groups", _Groups(), "Scene sizes that share weights, such as 1-2,3+."),
        or_preset(
            f"{prefix}method", click.Choice(BLEND_METHODS), "The least MAE, proven; the published search; no fit."
        ),
        or_preset(f"{prefix}mix", click.Choice(MIXES), "The mix of scene sizes that weights are fitted for."),
    )


def causal(command: Command) -> Command:
    """Declare the switch that leaves out later samples of a scene."""
    return or_preset("causal", click.BOOL, "Look at earlier samples of the scene only.")(command)


def out(command: Command) -> Command:
    """Declare where the submission goes."""
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
    """Refuse a place that no file can have, before hours of work end there."""
    nearest = next(folder for folder in place.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise click.BadParameter(f"expected a place where a file can be written, found {nearest} in the way")
    return place


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def declare(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return declare


def backbone(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the backbone of one step, or of all."""
    return or_preset(f"{prefix}backbone", click.STRING, backbones.names())


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


@contextmanager
def running(step: str) -> Iterator[str]:
    """Open the run of a step and yield its ID; end with the message alone where the input is wrong."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # end in order when told to stop
    with clear_messages(), tracking.command_run(step) as run_id:
        yield run_id
