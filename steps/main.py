"""Run all five steps as nested runs of one parent, reusing what is already there.

Reads   the dataset
Writes  the five runs and versions, submission.csv; a leaderboard and report.html on its own run
"""

from pathlib import Path
from typing import Any

import click

from atma18 import pipeline, report, tracking
from steps import options, typed


@click.command()
@options.shared
@options.backbone()
@options.causal
@options.reuse
@options.out
@options.backbone("embed_")
@options.embedding("embed_")
@options.backbone("nn1_")
@options.net("nn1_")
@options.backbone("nn2_")
@options.net("nn2_")
@options.over_scenes("nn2_")
@options.boosting("gbdt_")
@options.blending("blend_")
def main(setting: options.Setting, reuse: bool, out: Path, **given: Any) -> None:  # noqa: ANN401
    """Run embed, nn1, nn2, gbdt and blend, and write a submission."""
    with options.running("main") as parent:
        varied = typed.given(**given)
        context = setting.open(varied)
        configs = pipeline.Configs.of(context.preset, varied)
        tracking.describe_parent(parent, context)
        done = pipeline.run_all(context, configs, reuse=reuse)
        pipeline.deliver(done["blend"], out)
        board = report.keep(parent, context, done, typed.as_typed(varied))
    click.echo(f"\n{board.text}\n\nOpen the UI with:\n  {tracking.ui_command()}")


if __name__ == "__main__":
    main()
