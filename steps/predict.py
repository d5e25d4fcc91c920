"""Predict the test samples of any dataset folder with any registered version or run.

Reads   the run's servable; test_features.csv, frames and traffic lights of the dataset folder
Writes  predictions.parquet and submission.csv, with its own run and in the folder `out`
"""

from pathlib import Path

import click

from atma18.cache import Cache
from steps import options
from steps.commands import command


@command
@click.option("--model", default="models:/atma18-blend@champion", show_default=True, help="A run, or a models:/ URI.")
@click.option("--data", default="demo", show_default=True, help="Dataset folder, or demo; its test samples count.")
@click.option(
    "--out", default="predictions", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
def main(model: str, data: str, out: Path) -> None:
    """Predict every sample of test_features.csv from what is there of its scene; no targets are needed."""
    from atma18 import checks, tracking
    from atma18.bundle import forecast, servable
    from atma18.compute import Compute, stopwatch
    from atma18.data import submission
    from atma18.data.dataset import Dataset
    from atma18.schema import OUTSIDE

    with options.running("predict") as run:
        submission.check_folder(out, forecast.FILES)
        cache = Cache.open()
        found = tracking.named_run(model, cache)
        dataset = Dataset.open(data, cache, test_alone=True)
        for suspicion in checks.check_once(dataset, cache):
            click.echo(f"{data}: {suspicion}", err=True)
        with stopwatch.timed("predict", len(dataset.test)) as phase:
            answering = servable.load(found.bundle, Compute.choose().device)
            predicted_m = forecast.predict(answering, dataset.test)
        with cache.scratch("forecasts") as scratch:
            outside = answering.outside(dataset.test)
            forecast.write(scratch, dataset, predicted_m, outside)
            given = {"model": model, "data": data, "out": str(out)}
            tracking.record_predictions(run, found, dataset, given, phase.figures, scratch)
            submission.deliver({out / name: scratch / name for name in forecast.FILES})
    samples = f"{len(dataset.test)} samples by {found.step} (run {found.run_id})"
    if far := int((outside != "").sum()):
        click.echo(f"predict: {far} samples lie outside the range of the training drives: see {OUTSIDE}", err=True)
    click.echo(f"predict: {samples} are in {out.absolute()}: {', '.join(forecast.FILES)}")


if __name__ == "__main__":
    main()
