"""nn1 and nn2: nets that predict waypoints from frames and signals."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np

from atma18 import backbones, plots, tracking
from atma18.backbones import precision
from atma18.bundle import servable
from atma18.bundle.servable import predict_all
from atma18.config import OF_ENCODER, NetConfig
from atma18.nets import training
from atma18.nets.checkpoints import Checkpoints
from atma18.nets.model import FoldNet, NetModel
from atma18.nets.training import Epoch
from atma18.pipeline.path_view import keep_path_grids, tell_camera
from atma18.pipeline.step import NO_INPUTS, Step, run_ids, tell_backbone, tell_parameters
from atma18.run_context import RunContext, cached_folds
from atma18.schema import FloatArray, IntArray
from atma18.tracking import Identity, StepRun, Upstream

_log = logging.getLogger(__name__)

_SHOWN_AFTER = tuple(4**power for power in range(10))
"""The numbers of epochs after which a picture shows how far a net is, besides the last one."""


def net(step: str, context: RunContext, config: NetConfig, init: str | None = None) -> Step:
    """Train nn1 or nn2.

    Args:
        step: `nn1` or `nn2`.
        context: the dataset, folds, seed, machine and cache.
        config: the configuration of the nets.
        init: for `stage=second`, the run of a first stage; for `stage=head`, a run of nn1.

    Raises:
        ValueError: If `init` is missing with these stages, or given without them, or the run does not match `config`.
    """
    machine, dataset = context.machine, context.dataset
    chosen = precision.of_net(config, machine)
    config = replace(config, seed=context.seed, autocast=chosen.bfloat16)
    upstreams = _upstreams(step, context, config, init)
    start = _start(upstreams["init"], step, config, machine.device) if upstreams else None
    found = backbones.find(config.backbone)
    weights = backbones.weights_sha256(config.backbone, config.seed)

    def work(run: StepRun) -> None:
        folds = context.folds.of(dataset.train.ids)
        tell_backbone(run, found)
        _tell_training(run, context, config, str(chosen))
        model, epochs = _train(run, context, config, start)
        net, engine = model.folds[0].net, model.folds[0].engine
        run.note(engine=engine.name if engine else "torch")
        frozen = config.stage in ("first", "head")
        tell_parameters(run, net.encoder.backbone, net, frozen=frozen, copies=len(model.folds))
        with run.phase("predict", len(dataset.train) + len(dataset.test) * context.folds.count):
            all_folds = [folds, *_more_splits(context, config)]
            splits = [(model.of_split(number), split) for number, split in enumerate(all_folds)]
            predictions = predict_all(model, dataset.train, folds, dataset.test, NO_INPUTS, machine.device, splits)
        run.keep_predictions(predictions)
        _draw(run, context, model, epochs)
        run.keep_servable(model, {})

    identity = Identity.of(step, context, config, run_ids(upstreams), weights)
    clean_up = partial(Checkpoints.forget, context.cache, identity.fingerprint_of_any_threads)
    return Step(identity, context, config, upstreams, work, clean_up)


def _tell_training(run: StepRun, context: RunContext, config: NetConfig, precision: str) -> None:
    """Report, before the work, when training ends, in which precision, and which camera lays the grids."""
    samples = context.dataset.train
    note = training.early_stopping(config, samples, context.folds.of(samples.ids))
    _log.info(f"{run.identity.step}: early stopping is {note}")
    _log.info(f"{run.identity.step}: {precision}")
    run.note(early_stopping=note, precision=precision)
    tell_camera(run, context, config)


def _train(
    run: StepRun, context: RunContext, config: NetConfig, start: NetModel | None
) -> tuple[NetModel, list[Epoch]]:
    """Train, from the checkpoints of an interrupted run if there are any; record the errors of every epoch."""
    step, dataset = run.identity.step, context.dataset
    folds = context.folds.of(dataset.train.ids)
    epochs: list[Epoch] = []

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        figures = {"train_mae_m": epoch.train_mae_m, "held_out_mae_m": epoch.held_out_mae_m}
        run.measure({f"fold{epoch.fold}/{name}": v for name, v in figures.items() if v is not None}, epoch=epoch.index)

    with _checkpoints(run, context) as checkpoints, run.phase("train") as phase:
        try:
            model = training.train(
                step,
                config,
                dataset.train,
                dataset.targets_m,
                folds,
                context.machine,
                start=start,
                on_epoch=on_epoch,
                checkpoints=checkpoints,
                watch=_watch(run, context, config),
                more_splits=_more_splits(context, config),
            )
        except (KeyboardInterrupt, SystemExit):
            _say_how_far(run, epochs, checkpoints)
            raise
        phase.samples = sum(epoch.samples for epoch in epochs if not epoch.restored)
    return model, epochs


def _more_splits(context: RunContext, config: NetConfig) -> list[IntArray]:
    """Return the (N,) folds of each split after the run context's own, each drawn from its own seed."""
    count, ids = context.folds.count, context.dataset.train.ids
    seeds = [training.fold_seed(config.seed, split) for split in range(1, config.fold_repeats)]
    return [cached_folds(context.dataset, count, seed, context.cache).of(ids) for seed in seeds]


def _watch(run: StepRun, context: RunContext, config: NetConfig) -> Callable[[Epoch, FoldNet], None]:
    """Return a function that draws how the first fold's net predicts scenes outside its training.

    It draws after 1, 4, 16, … epochs, and after the last one.
    """
    dataset, epochs = context.dataset, sum(stage.num_epochs for stage, _ in training.stages(config))
    shown = plots.example_rows(dataset, np.flatnonzero(context.folds.of(dataset.train.ids) == 0))
    rows = np.array(list(shown.values()))
    around = np.flatnonzero(np.isin(dataset.train.scenes, dataset.train.scenes[rows]))  # nn2 needs whole scenes
    samples, places = dataset.train.take(around), np.searchsorted(around, rows)

    def watch(epoch: Epoch, model: FoldNet) -> None:
        done = epoch.index + 1
        if epoch.fold == 0 and (done in _SHOWN_AFTER or done == epochs):  # a picture takes as long as a short epoch
            predicted_m = model.predict(samples, config, context.machine.device)[places]
            run.show("while_training", plots.of_samples(dataset, rows, predicted_m, list(shown)), epoch.index)

    return watch


def _draw(run: StepRun, context: RunContext, model: NetModel, epochs: Sequence[Epoch]) -> None:
    """Draw the learning curves, and with view path what the first fold's net reads of scenes outside its training."""
    run.keep_figure("learning_curves", plots.learning_curves(*_curves(epochs)))
    if model.config.view == "path":
        keep_path_grids(run, context, model.config, model.folds[0].scaling.motion)


@contextmanager
def _checkpoints(run: StepRun, context: RunContext) -> Iterator[Checkpoints | None]:
    """Open the checkpoints of the run, and report the interrupted run that it continues."""
    identity = run.identity
    with Checkpoints.open(
        context.cache, identity.fingerprint_of_any_threads, run.run_id, identity.threads
    ) as checkpoints:
        if checkpoints is None:
            _log.info(f"{identity.step}: another process trains the very same right now: no checkpoints are kept")
        elif checkpoints.resumed_from is not None:
            _log.info(f"{identity.step}: goes on from run {checkpoints.resumed_from}, which was interrupted")
            run.go_on_from(checkpoints.resumed_from)
        yield checkpoints


def _say_how_far(run: StepRun, epochs: Sequence[Epoch], checkpoints: Checkpoints | None) -> None:
    """Record on an interrupted run how far it got and what is kept of it."""
    latest = {epoch.fold: epoch.index for epoch in epochs}
    words = ", ".join(f"{index} of fold {fold}" for fold, index in sorted(latest.items()))
    reached = f"after epoch {words}" if epochs else "in the first epoch"
    ahead = "nothing is kept" if checkpoints is None or not epochs else "the same command goes on from there"
    _log.info(f"{run.identity.step}: interrupted {reached}: {ahead}")
    run.note(interrupted=f"{reached}: {ahead}")


def _upstreams(step: str, context: RunContext, config: NetConfig, init: str | None) -> dict[str, Upstream]:
    """Return the verified run from which the configured stage starts, if it starts from one."""
    if config.stage == "head" and step != "nn2":
        raise ValueError(f"expected stage=head for nn2 alone, which takes the backbone of an nn1, found it for {step}")
    wanted = {"second": ("second", step, {"stage": "first"}), "head": ("head", "nn1", {})}
    if (config.stage in wanted) != (init is not None):
        stage, source, given = wanted.get(config.stage, wanted["second"])
        raise ValueError(
            f"expected init with stage={stage} and only then, found stage={config.stage} and init={init or 'none'}; "
            f"this makes one: {tracking.command(source, context.parameters | given)}"
        )
    if init is None:
        return {}
    if config.stage == "head":
        return {"init": tracking.resolve(init, context, step="nn1")}
    return {"init": tracking.resolve(init, context, step=step, stage="first")}


_OF_HEAD = ("num_layers", "hidden", "sequence_head")


def _start(upstream: Upstream, step: str, config: NetConfig, device: str) -> NetModel:
    """Load the nets from which a stage starts, and refuse those that do not match its configuration."""
    loaded = servable.load(upstream.bundle, device)
    model = loaded.members[loaded.root].model
    if not isinstance(model, NetModel):
        raise ValueError(f"expected a net in run {upstream.run_id}, found {type(model).__name__}")
    if config.stage == "second" and (model.step, model.config.stage) != (step, "first"):
        raise ValueError(
            f"expected init to be a run of {step} with stage=first, found {upstream.step}, {upstream.stage}"
        )
    for name in OF_ENCODER + (_OF_HEAD if config.stage == "second" else ()):
        found, expected = getattr(model.config, name), getattr(config, name)
        if found != expected:
            raise ValueError(f"expected init with {name}={expected}, found {name}={found} in run {upstream.run_id}")
    return model


def _curves(epochs: Sequence[Epoch]) -> tuple[list[FloatArray], list[FloatArray | None]]:
    """Return one training and one held-out curve per fold."""
    folds = [[e for e in epochs if e.fold == k] for k in sorted({e.fold for e in epochs})]
    train = [np.array([e.train_mae_m for e in fold]) for fold in folds]
    held_out = [[e.held_out_mae_m for e in fold if e.held_out_mae_m is not None] for fold in folds]
    return train, [
        np.array(curve) if len(curve) == len(fold) else None for curve, fold in zip(held_out, folds, strict=True)
    ]
