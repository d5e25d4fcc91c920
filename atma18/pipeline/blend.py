"""blend: runs become one prediction, one servable and one submission."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from atma18 import blending, metrics, plots, tracking
from atma18.experiment import Experiment
from atma18.inputs import StoredInputs
from atma18.pipeline.step import Result, Step, run_ids
from atma18.presets import BlendConfig
from atma18.schema import TARGETS, FloatArray, first_few, rows_of
from atma18.servable import predict_all
from atma18.tracking import Identity, StepRun, Upstream

SUBMISSION = "submission.csv"
SAMPLE_SUBMISSION = "atmaCup18__sample_submit.csv"


def blend(experiment: Experiment, config: BlendConfig, inputs: Sequence[str]) -> Step:
    """Blend runs with convex weights per scene-size group, score them by cross-fitting, write the submission.

    Args:
        experiment: data, folds and the rest.
        config: groups and optimiser.
        inputs: runs, named in any way.

    Raises:
        ValueError: If there is no input, or the same run twice.
    """
    dataset = experiment.dataset
    given = [name.strip() for name in inputs]
    if not given or not all(given):
        raise ValueError(f"inputs: expected runs, separated by single commas, found {','.join(inputs)!r}")
    upstreams = _named_apart(given, [tracking.resolve(name, experiment) for name in given])

    def work(run: StepRun) -> None:
        folds = experiment.folds.of(dataset.train.ids)
        predictions = {name: upstream.predictions(experiment) for name, upstream in upstreams.items()}
        stack_m = np.stack([p.oof_m for p in predictions.values()])
        sizes, names = dataset.train.scene_sizes, tuple(predictions)
        with run.phase("fit", len(dataset.train)):
            model = blending.fit(stack_m, dataset.targets_m, sizes, config, names)
            cross_fitted_m = blending.cross_fit(stack_m, dataset.targets_m, sizes, folds, config, names)
        inputs = (StoredInputs.of_train(predictions, {}), StoredInputs.of_test(predictions, {}))
        in_sample = predict_all(model, dataset.train, folds, dataset.test, inputs, experiment.machine.device)
        cross_fitted = replace(in_sample, oof_m=cross_fitted_m)
        run.keep_predictions(cross_fitted)
        run.measure({"in_sample/mae_m": metrics.mae_m(in_sample.oof_m, dataset.targets_m)})
        _compare_with_best_input(
            run, experiment, cross_fitted_m, predictions={n: p.oof_m for n, p in predictions.items()}
        )
        labels = [f"{first}+" if last is None else f"{first}–{last}" for first, last in config.groups]
        run.keep_figure("blend_weights", plots.blend_weights(model.weights, names, labels))
        run.keep_json("weights", model.to_json())
        submission_table(experiment, cross_fitted.test_m).to_csv(run.folder / SUBMISSION, index=False)
        run.keep_servable(model, upstreams)

    return Step(Identity.of("blend", experiment, config, run_ids(upstreams)), experiment, config, upstreams, work)


def deliver(result: Result, out: Path) -> None:
    """Copy a blend's submission out of its run; whoever reads `out` meanwhile finds a whole one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.copyfile(result.upstream.artifacts / SUBMISSION, beside)
    beside.replace(out)
    print(f"blend: the submission is {out.absolute()}")


def _named_apart(given: Sequence[str], upstreams: Sequence[Upstream]) -> dict[str, Upstream]:
    """Name each run after its step, a second one of a step `<step>-2`, in an order that does not depend on the caller.

    Raises:
        ValueError: If a run is there twice, under whatever names.
    """
    named_by: dict[str, list[str]] = {}
    for name, upstream in zip(given, upstreams, strict=True):
        named_by.setdefault(upstream.run_id, []).append(name)
    if twice := [f"run {run_id} as {', '.join(names)}" for run_id, names in named_by.items() if names[1:]]:
        raise ValueError(f"inputs: expected each run once, found {first_few(twice)}: name it once")
    named: dict[str, Upstream] = {}
    for upstream in sorted(upstreams, key=lambda u: (tracking.STEPS.index(u.step), u.started_ms, u.run_id)):
        same = sum(other.step == upstream.step for other in named.values())
        named[f"{upstream.step}-{same + 1}" if same else upstream.step] = upstream
    return named


def _compare_with_best_input(
    run: StepRun, experiment: Experiment, blended_m: FloatArray, predictions: Mapping[str, FloatArray]
) -> None:
    """Measure the paired gain over the best input, with its scene-bootstrap interval."""
    truth_m, scenes = experiment.dataset.targets_m, experiment.dataset.train.scenes
    best = min(predictions, key=lambda name: metrics.mae_m(predictions[name], truth_m))
    gain = metrics.paired_gain(blended_m, predictions[best], truth_m, scenes, seed=0)
    run.note(best_input=best)
    run.measure({"gain/mean_m": gain.mean_m, "gain/low_m": gain.low_m, "gain/high_m": gain.high_m})


def submission_table(experiment: Experiment, test_m: FloatArray) -> pd.DataFrame:
    """Return the (M, 18) predictions in the order of `test_features.csv`, without IDs.

    Raises:
        ValueError: If the folder's sample submission has other columns or another number of rows.
    """
    dataset = experiment.dataset
    rows = rows_of(dataset.submission_ids, dataset.test.ids, "submission")
    table = pd.DataFrame(test_m[rows], columns=list(TARGETS))
    sample = dataset.folder / SAMPLE_SUBMISSION
    if sample.is_file():
        expected = pd.read_csv(sample)
        if list(expected.columns) != list(table.columns) or len(expected) != len(table):
            raise ValueError(
                f"{sample}: expected {len(table)} rows of {first_few(table.columns)}, "
                f"found {len(expected)} rows of {first_few(expected.columns)}"
            )
    return table
