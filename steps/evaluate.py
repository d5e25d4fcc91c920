"""Score predictions of test samples against withheld targets.

Reads   a run's predictions, or a file of them; test_targets.csv
Writes  test/ metrics and scores.json on its own run
"""

from pathlib import Path

import click

from atma18.cache import Cache
from steps import options
from steps.commands import command

TARGETS_FILE = "test_targets.csv"
TABLES = (".parquet", ".csv")


@command
@click.option(
    "--predictions",
    default="models:/atma18-blend@candidate",
    show_default=True,
    help="A run, a models:/ URI, a table with IDs, or a submission.",
)
@click.option("--targets", default="demo", show_default=True, help="test_targets.csv, its folder, or demo.")
def main(predictions: str, targets: str) -> None:
    """Print the test MAE whole, by axis, by horizon and by scene size, with 95 % intervals over scenes."""
    from atma18 import tracking
    from atma18.data.dataset import DEMO, demo_folder
    from atma18.metrics import evaluation

    with options.running("evaluate") as run:
        cache = Cache.open()
        path = demo_folder(cache) if targets == DEMO else Path(targets)
        path = path / TARGETS_FILE if path.is_dir() else path
        ids, truth_m = evaluation.read_targets(path)
        if Path(predictions).suffix in TABLES and not Path(predictions).is_file():
            raise ValueError(f"{predictions}: expected a table of predictions, found no file: check the path")
        found = None if Path(predictions).is_file() else tracking.named_run(predictions, cache)
        if found is None:
            predicted_ids, predicted_m = evaluation.read_predictions(Path(predictions), path)
        else:
            predicted = found.stored_predictions
            predicted_ids, predicted_m = predicted.test_ids, predicted.test_m
        scores = evaluation.score_test(evaluation.aligned(ids, predicted_ids, predicted_m), truth_m, ids)
        table = evaluation.table(scores)
        tracking.record_evaluation(run, {score.part.metric("test"): score.mae_m for score in scores}, table, found)
    click.echo(f"evaluate: {predictions} on {path}")
    click.echo(table.to_string(index=False, float_format=lambda v: f"{v:.4f}"))


if __name__ == "__main__":
    main()
