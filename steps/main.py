"""Run all five steps as nested runs of one parent, reusing what is already there.

Reads   the dataset
Writes  the five runs and versions, submission.csv, a leaderboard
"""

from pathlib import Path
from typing import Any

import click

from atma18 import leaderboard, pipeline, tracking
from steps import options


@click.command()
@options.shared
@options.backbone
@options.causal
@click.option("--reuse", default=True, type=click.BOOL, show_default=True, help="Take finished runs of the very same.")
@click.option("--out", default="submission.csv", show_default=True, type=Path, help="Where the submission is written.")
@options.net("nn1_")
@options.net("nn2_")
@options.boosting("gbdt_")
def main(
    data: str,
    preset: str,
    folds: str,
    fold_seed: int,
    seed: int,
    reuse: bool,
    out: Path,
    **given: Any,  # noqa: ANN401
) -> None:
    """Run embed, nn1, nn2, gbdt and blend, and write a submission."""
    with options.clear_messages():
        experiment = options.open_experiment(data, preset, folds, fold_seed, seed)
        configs = pipeline.Configs.of(experiment.preset, options.given(**given))
    with tracking.parent_run(experiment) as parent:
        done = pipeline.run_all(experiment, configs, reuse=reuse)
        pipeline.deliver(done["blend"], out)
        board = leaderboard.of_runs(done)
        tracking.finish_parent(
            parent, board.table, {name: result.upstream.run_id for name, result in done.items()}, board.markdown
        )
    click.echo(f"\n{board.text}\n\nOpen the UI with:\n  {tracking.ui_command()}")


if __name__ == "__main__":
    main()
