"""Time of a served blend for one scene of six samples, beside the forward passes of the same nets alone.

The reference is the time of the same backbones, of every fold, on the same frames as torch tensors: no HTTP, no PNG, no
padding, no LSTM, no trees. A small `main` is run first, since the values of the weights make no difference.

    python -m benchmarks.serving --quick
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import click
import numpy as np
import pandas as pd
import torch

from atma18 import simulate, tracking
from atma18.bundle import servable
from atma18.bundle.servable import Servable
from atma18.cache import Cache
from atma18.compute import inference
from atma18.data.dataset import Dataset
from atma18.embedding import EmbedModel
from atma18.nets.model import NetModel
from atma18.schema import FloatArray, Samples
from atma18.serving.request_rows import FRAMES, raw_rows
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

REFERENCE = "bare forward passes"
SAMPLES = 6
MODEL = "models:/atma18-blend@candidate"
PORT = 5999
_SHORT = ("--nn1_num_epochs=1", "--nn2_num_epochs=1", "--gbdt_rounds=50")


def train(folder: Path, preset: str) -> None:
    """Run `main` on a few simulated drives, in a store of its own."""
    simulate.write_drives(folder / "drives", simulate.Plan(12, 12, seed=1))
    words = [sys.executable, "-m", "steps.main", f"--data={folder / 'drives'}", f"--preset={preset}", *_SHORT]
    subprocess.run(words, cwd=folder, env=_environment(folder), check=True, stdout=subprocess.DEVNULL)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the blend while something is done, and yield the address."""
    words = ["models", "serve", "-m", MODEL, "--env-manager", "local", "--port", str(PORT)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], cwd=folder, env=_environment(folder), stdout=log, stderr=log
        )
        try:
            _wait_for(f"http://127.0.0.1:{PORT}/ping", server)
            yield f"http://127.0.0.1:{PORT}/invocations"
        finally:
            server.terminate()
            server.wait()


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "ATMA18_CACHE": f"{folder}/cache",
        "PYTHONPATH": str(PROJECT_FOLDER),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if server.poll() is not None:
            raise RuntimeError("expected a server, found that it has ended")
        try:
            with urlopen(url):
                return
        except URLError:
            time.sleep(0.1)
    raise RuntimeError(f"expected {url} to answer within two minutes")


def one_scene(dataset: Dataset) -> Samples:
    """Return a test scene of six samples."""
    rows = np.flatnonzero(dataset.test.scene_sizes == SAMPLES)[:SAMPLES]
    return dataset.test.take(rows)


def request(samples: Samples, folder: Path) -> bytes:
    """Return the body that asks for these samples."""
    rows = raw_rows(samples, folder)
    for name in FRAMES:
        rows[name] = [base64.b64encode(png).decode() for png in rows[name]]
    return json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split"))}).encode()


def bare_forward(answering: Servable, samples: Samples) -> Callable[[], None]:
    """Return what runs every backbone of every fold over the samples' frames, and nothing else."""
    frames = torch.from_numpy(np.asarray(samples.frames[:]))
    models = [member.model for member in answering.members.values()]
    nets = [model for model in models if isinstance(model, NetModel)]
    encoders = [fold.net.encoder for model in nets for fold in model.folds]
    stacked = inference.stacked_images(frames, nets[0].config.image_shape[1:])
    single = inference.single_images(frames)
    backbones = [model for model in models if isinstance(model, EmbedModel)]
    signals = torch.zeros(len(samples), len(answering.sensors.signals))

    def forward() -> None:
        with torch.inference_mode():
            for encoder in encoders:
                encoder(stacked, signals)
            for model in backbones:
                with inference.autocast("cpu", model.config.autocast):
                    model.backbone(single)

    return forward


def seconds_of(work: Callable[[], object], times: int) -> FloatArray:
    """Measure (times,) seconds, after two that don't count."""
    found = []
    for _ in range(times + 2):
        started_s = time.perf_counter()
        work()
        found.append(time.perf_counter() - started_s)
    return np.array(found[2:])


def measure(folder: Path, times: int) -> dict[str, float]:
    """Ask a served blend and its bare nets for the same scene."""
    os.environ.update(_environment(folder))
    cache = Cache.open()
    dataset = Dataset.open(str(folder / "drives"), cache)
    samples = one_scene(dataset)
    body = request(samples, dataset.folder)
    upstream = tracking.named_run(MODEL, cache)
    answering = servable.load(upstream.bundle, "cpu")
    stored = (
        pd.read_parquet(upstream.artifacts / "predictions" / "test.parquet").set_index("ID").loc[samples.ids.tolist()]
    )

    def ask() -> pd.DataFrame:
        with urlopen(Request(url, body, {"Content-Type": "application/json"})) as response:
            return pd.DataFrame(json.load(response)["predictions"]).set_index("ID")

    bare_s = seconds_of(bare_forward(answering, samples), times)
    in_process_s = seconds_of(lambda: answering.predict(samples), times)
    with served(folder) as url:
        worst_m = float((ask() - stored).abs().to_numpy().max())
        served_s = seconds_of(ask, times)
    return {
        "p50_s": float(np.median(served_s)),
        "p95_s": float(np.percentile(served_s, 95)),
        "requests_per_s": float(times / served_s.sum()),
        "in_process_s": float(np.median(in_process_s)),
        "bare_forward_s": float(np.median(bare_s)),
        "ratio": float(np.median(served_s) / np.median(bare_s)),
        "worst_difference_m": worst_m,
    }


@click.command()
@click.option("--preset", default="quick", show_default=True)
@click.option("--times", default=100, show_default=True, help="Requests.")
@click.option("--quick", is_flag=True, help="20 requests.")
@results.json_option
def main(preset: str, times: int, quick: bool, file: Path | None) -> None:
    """Print the latency of one scene of six samples, one client at a time."""
    with tempfile.TemporaryDirectory() as scratch:
        train(Path(scratch), preset)
        found = measure(Path(scratch), 20 if quick else times)
    click.echo(f"one scene of {SAMPLES} samples, one client at a time, {torch.get_num_threads()} threads; ")
    click.echo(f"served: p50 {found['p50_s']:.3f} s, p95 {found['p95_s']:.3f} s, {found['requests_per_s']:.2f} /s")
    click.echo(f"in process {found['in_process_s']:.3f} s, {REFERENCE} {found['bare_forward_s']:.3f} s")
    click.echo(f"served / {REFERENCE}: {found['ratio']:.2f}")
    click.echo(f"worst difference from what was stored: {found['worst_difference_m']:.2g} m")
    results.keep(file, found)


if __name__ == "__main__":
    main()
