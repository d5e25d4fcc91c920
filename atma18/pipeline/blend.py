"""blend: combine runs into one prediction, one servable and one submission."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from atma18 import blending, metrics, plots, tracking
from atma18.blending import Blend, Fitted, Weights
from atma18.bundle.servable import predict_all
from atma18.bundle.steps import STEPS
from atma18.config import BlendConfig
from atma18.data import submission
from atma18.data.submission import SUBMISSION, submission_table
from atma18.gbdt.inputs import StoredInputs
from atma18.metrics import scores
from atma18.metrics.scores import Part
from atma18.pipeline.step import Result, Step, run_ids
from atma18.run_context import RunContext
from atma18.schema import TARGETS, FloatArray, first_few, shown
from atma18.tracking import Identity, StepRun, Upstream

_log = logging.getLogger(__name__)

_OURS = "this blend"
"""The name of this blend in the leaderboard, where another blend may be one of the inputs."""
_MOTION = "motion"
"""The name of the motion model in the leaderboard. It is compared with the blend even where it is no input."""


def blend(context: RunContext, config: BlendConfig, inputs: Sequence[str]) -> Step:
    """Blend runs with convex weights per scene-size group, score them by cross-fitting, write the submission.

    Args:
        context: the dataset, folds, seed, machine and cache.
        config: the groups and the optimiser.
        inputs: the runs, by any kind of name.

    Raises:
        ValueError: If there is no input, or a run is given twice.
    """
    dataset = context.dataset
    given = [name.strip() for name in inputs]
    if not given or not all(given):
        raise ValueError(f"inputs: expected runs, separated by single commas, found {shown(','.join(inputs))}")
    upstreams = named_apart(given, [tracking.resolve(name, context) for name in given])

    def work(run: StepRun) -> None:
        folds = context.folds.of(dataset.train.ids)
        predictions = {name: upstream.predictions(context) for name, upstream in upstreams.items()}
        stack_m = np.stack([p.oof_m for p in predictions.values()])
        sizes, names = dataset.train.scene_sizes, tuple(predictions)
        with run.phase("fit", len(dataset.train)):
            rows = (stack_m, dataset.targets_m, sizes, dataset.train.scenes)
            fitted = blending.fit(*rows, config, names)
            cross_fitted_m = blending.cross_fit(*rows, folds, config, names)
        model = fitted.blend
        run.note(weights=str(model))
        _prove(run, fitted)
        inputs = (StoredInputs.of_train(predictions, {}), StoredInputs.of_test(predictions, {}))
        in_sample = predict_all(model, dataset.train, folds, dataset.test, inputs, context.machine.device)
        cross_fitted = replace(in_sample, oof_m=cross_fitted_m)
        run.keep_predictions(cross_fitted)
        run.measure({"in_sample/mae_m": metrics.mae_m(in_sample.oof_m, dataset.targets_m)})
        inputs_m = {name: p.oof_m for name, p in predictions.items()}
        best = _compare(run, context, cross_fitted_m, inputs_m, upstreams)
        _draw_weights(run, context, model, cross_fitted_m, {best: inputs_m[best]})
        run.keep_figure("error_correlation", plots.error_correlation(stack_m - dataset.targets_m, names))
        run.keep_json("weights", model.describe())
        submission_table(dataset, cross_fitted.test_m).to_csv(run.folder / SUBMISSION, index=False)
        run.keep_servable(model, upstreams)

    return Step(Identity.of("blend", context, config, run_ids(upstreams)), context, config, upstreams, work)


def deliver(result: Result, out: Path) -> None:
    """Copy a blend's submission from its run to `out`, atomically, and say if another one lay there."""
    ours = result.upstream.artifacts / SUBMISSION
    replaced = out.is_file() and out.read_bytes() != ours.read_bytes()
    submission.deliver({out: ours})
    in_place = " in place of another file; each blend's run keeps its own" if replaced else ""
    _log.info(f"blend: the submission of run {result.upstream.run_id} is {out.absolute()}{in_place}")


def named_apart(given: Sequence[str], upstreams: Sequence[Upstream], what: str = "inputs") -> dict[str, Upstream]:
    """Name each run after its step, and a second run of a step `<step>-2`; the order of `given` makes no difference.

    Raises:
        ValueError: If a run is given twice, under any names.
    """
    named_by: dict[str, list[str]] = {}
    for name, upstream in zip(given, upstreams, strict=True):
        named_by.setdefault(upstream.run_id, []).append(name)
    if twice := [f"run {run_id} as {', '.join(names)}" for run_id, names in named_by.items() if names[1:]]:
        raise ValueError(f"{what}: expected each run once, found {first_few(twice)}: name it once")
    named: dict[str, Upstream] = {}
    for upstream in sorted(upstreams, key=lambda u: (list(STEPS).index(u.step), u.started_ms, u.run_id)):
        same = sum(other.step == upstream.step for other in named.values())
        named[f"{upstream.step}-{same + 1}" if same else upstream.step] = upstream
    return named


def _prove(run: StepRun, fitted: Fitted) -> None:
    """Record how far each group's weights may be from the optimum, and report the groups with too few samples."""
    blend = fitted.blend
    for label, parts, samples, borrowed in zip(
        blend.labels, fitted.parts, fitted.samples, fitted.borrowed, strict=True
    ):
        group = label.replace("–", "_to_").replace("+", "_or_more")
        for axis, part in zip(blend.axes or ("",), parts, strict=True):
            _prove_part(run, part, f"{group}_{axis}" if axis else group, f"{label}, {axis}" if axis else label)
        if borrowed:
            few = f"scenes of size {label} have {samples} samples here, fewer than {blending.FEWEST_SAMPLES}"
            _log.info(f"blend: {few}: the weights for such scenes are those of all samples")
            run.note(**{f"few_samples_{group}": str(samples)})


def _prove_part(run: StepRun, part: Weights, name: str, label: str) -> None:
    """Record the gap, the bound and the pull of one set of weights."""
    of_part = {"gap": part.gap, "bound_m": part.bound_m, "pull": part.strength}
    run.measure({f"optimality/{name}_{what}": value for what, value in of_part.items()})
    if not part.proven:
        _log.info(f"blend: scene size {label}: up to {part.gap:.2%} above the least error that weights can have")


def _compare(
    run: StepRun,
    context: RunContext,
    blended_m: FloatArray,
    inputs_m: Mapping[str, FloatArray],
    upstreams: Mapping[str, Upstream],
) -> str:
    """Record the leaderboard of the blend, its inputs and the motion model and the paired gains.

    Returns:
        The name of the best input.
    """
    dataset, others_m = context.dataset, {_MOTION: context.references_m["motion_model"], **inputs_m}
    parts = scores.training_parts(dataset.train, dataset.test)
    board = scores.compare(blended_m, others_m, dataset.targets_m, parts, dataset.train.scenes, ours=_OURS)
    run.keep_table("leaderboard", board.assign(run_id=board["model"].map(run_ids(upstreams) | {_OURS: run.run_id})))
    run.keep_figure("leaderboard", plots.leaderboard(board))
    whole = board[(board["by"] == "") & (board["model"] != _OURS)].to_dict("records")
    of_inputs = [row for row in whole if row["model"] in inputs_m and row["part"] == scores.ALL]
    best: str = min(of_inputs, key=lambda row: row["mae_m"])["model"]
    run.note(best_input=best)
    gains: dict[str, float] = {}
    for row in whole:
        of_part = "" if row["part"] == scores.ALL else f"{row['part']}_"
        gain = {f"{of_part}{name}": row[f"gain_{name}".replace("mean_", "")] for name in ("mean_m", "low_m", "high_m")}
        gains |= {f"gain_over_{row['model']}/{name}": value for name, value in gain.items()}
        if row["model"] == best:
            gains |= {f"gain/{name}": value for name, value in gain.items()}
    run.measure(gains)
    over_motion = [f"{gains[f'gain_over_{_MOTION}/{name}']:+.4f}" for name in ("mean_m", "low_m", "high_m")]
    _log.info(
        f"blend: {metrics.mae_m(blended_m, dataset.targets_m):.4f} m out of fold, gain over the motion model "
        f"{over_motion[0]} m ({over_motion[1]} to {over_motion[2]}); best input: {best}"
    )
    return best


def _draw_weights(
    run: StepRun, context: RunContext, model: Blend, blended_m: FloatArray, best_m: Mapping[str, FloatArray]
) -> None:
    """Draw the weights and the gain of the cross-fitted blend over the best input, {its name: predictions}.

    There is a row for each group, or for each group and axis.
    """
    dataset, [best] = context.dataset, best_m
    group = blending.group_of(dataset.train.scene_sizes, model.groups)
    step = len(model.axes) or 1
    parts = [
        Part("group", label, (group == row // step).astype(np.float64), np.arange(row % step, len(TARGETS), step))
        for row, label in enumerate(model.row_labels)
        if (group == row // step).any()
    ]
    board = scores.compare(blended_m, best_m, dataset.targets_m, parts, dataset.train.scenes, ours=_OURS)
    gains = board[board["model"] == best].set_index("part").reindex(model.row_labels)
    gains_m = gains[["gain_low_m", "gain_m", "gain_high_m"]].to_numpy(np.float64)
    weights = model.weights.reshape(len(model.row_labels), len(model.inputs))
    run.keep_figure("blend_weights", plots.blend_weights(weights, model.inputs, model.row_labels, gains_m, best))
