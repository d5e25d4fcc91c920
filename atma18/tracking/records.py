"""The records of the commands that are not steps: `main`, `evaluate`, `compare` and `predict`."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import LoggedModelInput, Metric, Param

from atma18.data.dataset import Dataset
from atma18.run_context import RunContext
from atma18.tracking import store
from atma18.tracking.identity import INPUT, PREFIX, STEP_TAG, git_state
from atma18.tracking.lifecycle import DESCRIPTION, LONGEST_TAG
from atma18.tracking.runs import log_datasets, log_samples, setting_tags
from atma18.tracking.upstream import Upstream


def describe_parent(run_id: str, context: RunContext, given: Mapping[str, str]) -> None:
    """Tag the run of `main` with what its steps have in common, and log the parameters that tell it from another.

    Args:
        run_id: the run of `main`.
        context: what its steps have in common.
        given: the options that were given beside it, as they are typed.
    """
    common: dict[str, object] = {
        "data": context.data,
        "preset": context.preset_name,
        "folds": context.folds.count,
        "fold_seed": context.fold_seed,
        "seed": context.seed,
    }
    _log_parameters(run_id, {**common, **given})
    tags = {"data_sha256": context.dataset.sha256, "folds_sha256": context.folds.sha256}
    for name, value in ({PREFIX + name: value for name, value in tags.items()} | setting_tags(context)).items():
        store.client().set_tag(run_id, name, value)
    log_datasets(context)


def finish_parent(
    run_id: str,
    leaderboard: pd.DataFrame,
    steps: Mapping[str, str],
    description: str,
    page: str,
    figures: Mapping[str, float],
) -> None:
    """Log the leaderboard, the page of samples and the metrics, and name the runs of the steps, reused ones included.

    Args:
        run_id: the run of `main`.
        leaderboard: the table of the steps.
        steps: by step, its run.
        description: Markdown.
        page: HTML.
        figures: metrics.
    """
    _log_figures(run_id, figures)
    mlflow.log_table(leaderboard.astype(object).where(leaderboard.notna(), ""), "leaderboard.json")
    for name, step_run_id in steps.items():
        store.client().set_tag(run_id, f"{INPUT}{name}", step_run_id)
    mlflow.log_text(page, "report.html")
    store.client().set_tag(run_id, DESCRIPTION, description)


def delivered() -> dict[str, str]:
    """Return the run of each step of the newest finished `main`, reused runs included.

    Raises:
        ValueError: If there is none.
    """
    mains = store.search(f"tags.`{STEP_TAG}` = 'main' AND attributes.status = 'FINISHED'")
    if not mains:
        raise ValueError("expected a finished run of main, found none")
    tags = mains[-1].data.tags
    return {tag.removeprefix(INPUT): run_id for tag, run_id in tags.items() if tag.startswith(INPUT)}


def record_evaluation(run_id: str, figures: Mapping[str, float], scores: pd.DataFrame, of: Upstream | None) -> None:
    """Log the test scores of `evaluate`, and the run whose predictions they score, if there is one."""
    _log_figures(run_id, figures)
    mlflow.log_table(scores, "scores.json")
    if of is not None:
        store.client().set_tag(run_id, f"{INPUT}{of.step}", of.run_id)


def record_comparison(
    run_id: str, table: pd.DataFrame, runs: Mapping[str, Upstream], verdicts: Sequence[str], figures: Path
) -> None:
    """Log the results of `compare`: the gains of the first run, the verdicts as text, the table and the figures."""
    whole = table[(table["by"] == "") & (table["model"] != next(iter(runs)))].to_dict("records")
    gains = {
        f"gain_over_{row['model']}/{row['part']}_{name}": row[f"gain_{name}"]
        for row in whole
        for name in ("m", "low_m", "high_m")
    }
    _log_figures(run_id, gains)
    mlflow.log_table(table, "comparison.json")
    store.client().log_artifacts(run_id, str(figures), "figures")
    for name, upstream in runs.items():
        store.client().set_tag(run_id, f"{INPUT}{name}", upstream.run_id)
    links = ", ".join(f"{name} {store.link_to(upstream.run_id)}" for name, upstream in runs.items())
    sentences = [f"- {verdict}." for verdict in verdicts]
    described = "\n".join([f"{links}: part by part in `figures/where.png`.", "", *sentences])
    store.client().set_tag(run_id, DESCRIPTION, described[:LONGEST_TAG])


def record_predictions(
    run_id: str, of: Upstream, dataset: Dataset, given: Mapping[str, str], figures: Mapping[str, float], files: Path
) -> None:
    """Log the predictions of `predict`: the run of the model, the drives, and the files.

    Args:
        run_id: the run of `predict`.
        of: the run whose servable made the predictions.
        dataset: the dataset with the test samples.
        given: the parameters as the user gave them, `data` included.
        figures: metrics.
        files: the folder of the files to log.
    """
    _log_figures(run_id, figures)
    _log_parameters(run_id, given)
    tags = {
        f"input.{of.step}": of.run_id,
        "data_sha256": dataset.sha256,
        "absent_sensors": ",".join(dataset.absent) or "none",
        "git": git_state(),
    }
    for name, value in tags.items():
        store.client().set_tag(run_id, PREFIX + name, value)
    log_samples(dataset, given["data"], "testing", dataset.test)
    store.client().log_inputs(run_id, models=[LoggedModelInput(of.manifest.model_id)])
    store.client().log_artifacts(run_id, str(files))


def _log_parameters(run_id: str, values: Mapping[str, object]) -> None:
    store.client().log_batch(run_id, params=[Param(f"cfg.{name}", str(value)) for name, value in values.items()])


def _log_figures(run_id: str, figures: Mapping[str, float]) -> None:
    now_ms = int(time.time() * 1000)
    store.client().log_batch(run_id, metrics=[Metric(name, value, now_ms, 0) for name, value in figures.items()])
