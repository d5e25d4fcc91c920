"""Compare one run with others: by axis, horizon, scene size and speed, and scene by scene.

Reads   the dataset; the out-of-fold predictions of runs
Writes  gain metrics, comparison.json and figures on its own run
"""

import click

from steps import options
from steps.commands import command


@command
@options.shared
@click.option(
    "--runs",
    default="blend,gbdt",
    show_default=True,
    help="Two or more, separated by commas: run IDs, models:/ URIs, or steps; the first is compared with the others.",
)
def main(setting: options.Setting, runs: str) -> None:
    """Print a table of errors in metres with paired gains and their 95 % intervals over scenes; * is beyond chance."""
    from atma18 import tracking
    from atma18.pipeline.compare import compare

    with options.running("compare") as run:
        context = setting.open()
        with context.cache.scratch("runs") as figures:
            found = compare(context, runs.split(","), figures)
            tracking.record_comparison(run, found.table, found.runs, found.verdicts, figures)
    click.echo("\n".join([found.which, "", found.text, "", *found.verdicts, "", f"figures: run {run}, folder figures"]))


if __name__ == "__main__":
    main()
