"""The options that entry points share, and how a person's mistakes reach them as one clear message."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from atma18 import backbones, tracking
from atma18.cache import Cache
from atma18.config.presets import (
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
from atma18.run_context import PRESET, RunContext
from steps.messages import clear_messages
from steps.typed import Command, GroupsType, flag, or_none, or_preset, together


@dataclass(frozen=True)
class Setting:
    """What every step takes."""

    data: str
    preset: str
    folds: str
    fold_seed: int
    seed: int
    verify: bool

    def open(self, given: Mapping[str, Any] | None = None) -> RunContext:
        """Read the data and make the folds, and say what a person should know of them.

        Args:
            given: an experiment's own values; the backbones among them are looked for first, for data take minutes.
        """
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
        if absent := context.dataset.absent:
            click.echo(f"{self.data}: these drives have no {', '.join(absent)}; the models do without")
        if context.preset.for_gpu and context.machine.device == "cpu":
            click.echo(
                f"preset={self.preset} is meant for a GPU: on this CPU the competition's data would take many hours"
            )
        return context


def shared(command: Callable[..., None]) -> Callable[..., None]:
    """Declare the options of every step and pass them to the command as its first argument."""

    @wraps(command)
    def with_setting(**values: Any) -> None:  # noqa: ANN401
        setting = Setting(**{field.name: values.pop(field.name) for field in fields(Setting)})
        command(setting, **values)

    return together(
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
    return together(
        _pixels(prefix),
        or_preset(f"{prefix}svd_components", click.INT, "Components kept per cell."),
        or_preset(f"{prefix}waves", click.INT, "Random cosines that the probe reads beside the features."),
        _target(prefix),
        _by_speed(prefix),
    )


def net(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the options of a net's training that an experiment varies."""
    return together(
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
    return together(
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


def blending(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the options of blend that an experiment varies."""
    return together(
        or_preset(f"{prefix}groups", GroupsType(), "Scene sizes that share weights, such as 1-2,3+."),
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


def backbone(prefix: str = "") -> Callable[[Command], Command]:
    """Declare the backbone of one step, or of all."""
    return or_preset(f"{prefix}backbone", click.STRING, backbones.names())


@contextmanager
def running(step: str) -> Iterator[str]:
    """Open the run of a step and yield its ID; end with the message alone where the input is wrong."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # end in order when told to stop
    with clear_messages(), tracking.command_run(step) as run_id:
        yield run_id
