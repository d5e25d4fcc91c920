"""Served blends: one scene of six samples, beside bare forward passes of their nets and an earlier build's server.

`default` is what `quick` makes, `frame` has lite0 on whole frames in nn1 and nn2. Their nets are trained for an epoch,
since the values of the weights make no difference. The first reference is the time of the same backbones, of every
fold, on the same images as torch tensors: no HTTP, no PNG, no padding, no LSTM, no trees. The second is MLflow's server
of the default blend of the commit that `--before` names, asked in turns with ours.

    python -m benchmarks.serving --before 684aca4
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import click
import numpy as np
import pandas as pd
import psutil
import torch

from atma18 import simulate, tracking
from atma18.bundle import servable
from atma18.bundle.servable import Servable
from atma18.cache import Cache
from atma18.compute import inference
from atma18.data.dataset import Dataset
from atma18.embedding import EmbedModel
from atma18.geometry.images import images_of
from atma18.nets.model import NetModel
from atma18.schema import TARGETS, FloatArray, FrameRows, Samples
from atma18.serving.request_rows import FRAMES, raw_rows
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results
from benchmarks.mains import build_of, run_command

REFERENCE = "bare forward passes"
PRESETS = {"default": "quick", "frame": "seed-small"}
"""The preset that makes each blend."""
SAMPLES = 6
CLIENTS = 8
MODEL = "models:/atma18-blend@candidate"
PORTS = {"ours": 5999, "before": 5998}
_SHORT = ("--nn1_num_epochs=1", "--nn2_num_epochs=1", "--gbdt_rounds=50")
_BUSY = "while True: pass"


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    ready_s: float
    """Seconds from its start to its first answer."""
    process: psutil.Process

    @property
    def memory_mb(self) -> float:
        """Resident memory of the server and the processes that it started."""
        family = [self.process, *self.process.children(recursive=True)]
        return float(sum(process.memory_info().rss for process in family) / 1e6)

    def ask(self, body: bytes) -> pd.DataFrame:
        """Ask for some samples, and return the (N, 18) waypoints in metres by ID."""
        with urlopen(Request(f"{self.url}/invocations", body, {"Content-Type": "application/json"})) as response:
            return pd.DataFrame(json.load(response)["predictions"]).set_index("ID")[list(TARGETS)]


@contextmanager
def served(store: Path, build: Path | None, port: int) -> Iterator[Server]:
    """Serve the blend of a store: with the service of a build, or with MLflow's own server."""
    words = (
        ["mlflow", "models", "serve", "-m", MODEL, "--env-manager", "local", "--port", str(port)]
        if build is None
        else ["steps.serve", f"--model={MODEL}", f"--port={port}"]
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    kept |= {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db", "ATMA18_CACHE": f"{store}/cache"}
    kept |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(build or "")}
    started_s = time.perf_counter()
    with (store / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", *words], cwd=store, env=kept, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/health", server)
        yield Server(url, time.perf_counter() - started_s, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(2400):
        if server.poll() is not None:
            raise RuntimeError("expected a server, found that it has ended")
        try:
            with urlopen(url):
                return
        except URLError:
            time.sleep(0.05)
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
    """Return what runs every backbone of every fold over the images that it reads, and nothing else."""
    passes: list[tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor, bool]] = []
    for member in answering.members.values():
        model = member.model
        if isinstance(model, NetModel):
            for fold in model.folds:
                images = _tensor(fold.images(samples, model.config))
                stacked = inference.stacked_images(images, model.config.image_shape[1:])
                passes.append((fold.net.eval().encoder.encode_frames, stacked, False))
        elif isinstance(model, EmbedModel):
            by_path = model.config.view == "path"
            for probe in model.folds if by_path else model.folds[:1]:
                motion = probe.motion if by_path else np.empty(0)
                single = inference.single_images(_tensor(images_of(model.config, samples, motion, model.camera)))
                passes.append((model.backbone, single, model.config.autocast))

    def forward() -> None:
        with torch.inference_mode():
            for encode, images, autocast in passes:
                with inference.autocast("cpu", autocast):
                    encode(images)

    return forward


def _tensor(images: FrameRows) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images[:]))


def in_turns(works: Mapping[str, Callable[[], object]], times: int) -> dict[str, FloatArray]:
    """Measure (times,) seconds of each work, one after the other, after two rounds that don't count."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(times + 2):
        for name, work in works.items():
            started_s = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - started_s)
    return {name: np.array(seconds[2:]) for name, seconds in found.items()}


def throughput(server: Server, body: bytes, requests: int, busy: int) -> float:
    """Return the requests/s of eight clients, beside so many busy processes."""
    others = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(busy)]
    try:
        started_s = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda _: server.ask(body), range(requests)))
        return requests / (time.perf_counter() - started_s)
    finally:
        for process in others:
            process.kill()


def measure(store: Path, drives: Path, before: Server | None, times: int) -> dict[str, Any]:
    """Ask the service of a store's blend, its bare nets, and the server of the earlier build for the same scene."""
    cache = Cache.open()
    dataset = Dataset.open(str(drives), cache)
    samples = one_scene(dataset)
    body = request(samples, dataset.folder)
    upstream = tracking.named_run(MODEL, cache)
    answering = servable.load(upstream.bundle, "cpu")
    stored = pd.read_parquet(upstream.artifacts / "predictions" / "test.parquet").set_index("ID")
    works = {
        "bare": bare_forward(answering, samples),
        "in_process": lambda: answering.predict(replace(samples)),  # without what earlier passes have kept on them
    }
    alone_s = in_turns(works, times)
    with served(store, PROJECT_FOLDER, PORTS["ours"]) as ours:
        servers = {"ours": ours} | ({} if before is None else {"before": before})
        off_m = (ours.ask(body) - stored.loc[samples.ids.tolist(), list(TARGETS)]).abs().to_numpy()
        seconds = in_turns({name: partial(server.ask, body) for name, server in servers.items()}, times)
        found: dict[str, Any] = {
            "p50_s": float(np.median(seconds["ours"])),
            "p99_s": float(np.percentile(seconds["ours"], 99)),
            "in_process_s": float(np.median(alone_s["in_process"])),
            "bare_forward_s": float(np.median(alone_s["bare"])),
            "ratio": float(np.median(seconds["ours"]) / np.median(alone_s["bare"])),
            "worst_difference_m": float(off_m.max()),
        }
        for name, server in servers.items():
            prefix = "" if name == "ours" else "before_"
            found[f"{prefix}p50_s"] = float(np.median(seconds[name]))
            found |= {f"{prefix}ready_s": server.ready_s, f"{prefix}memory_mb": server.memory_mb}
            for busy in (0, 2):
                rate = throughput(server, body, CLIENTS * max(2, times // 20), busy)
                found[f"{prefix}requests_per_s{'_busy' if busy else ''}"] = rate
    return found


@click.command()
@click.option("--before", default="", help="The commit of the earlier build; none leaves it out.")
@click.option("--times", default=100, show_default=True, help="Requests of one client.")
@click.option("--quick", is_flag=True, help="20 requests, and the default blend alone.")
@results.json_option
def main(before: str, times: int, quick: bool, file: Path | None) -> None:
    """Print the latency of one scene of six samples, and the throughput of eight clients."""
    times, presets = (20, {"default": PRESETS["default"]}) if quick else (times, PRESETS)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as running:
        folder = Path(scratch)
        drives = folder / "drives"
        simulate.write_drives(drives, simulate.Plan(12, 12, seed=1))
        earlier = None
        if before:
            with build_of(before, folder / "build") as build:
                run_command(build, folder / "store-before", drives, "main", *_SHORT)
            earlier = running.enter_context(served(folder / "store-before", None, PORTS["before"]))
        found: dict[str, Any] = {"commit_before": before}
        for name, preset in presets.items():
            store = folder / f"store-{name}"
            run_command(PROJECT_FOLDER, store, drives, "main", f"--preset={preset}", *_SHORT)
            found[name] = measure(store, drives, earlier, times)
            click.echo(_told(name, found[name]))
    results.keep(file, found)


def _told(name: str, found: Mapping[str, float]) -> str:
    """Return what was measured of a blend, as lines of text."""
    lines = [
        f"{name}: one scene of {SAMPLES} samples, {torch.get_num_threads()} threads",
        f"  served: p50 {found['p50_s']:.3f} s, p99 {found['p99_s']:.3f} s; in process {found['in_process_s']:.3f} s",
        f"  {REFERENCE}: {found['bare_forward_s']:.3f} s; ratio {found['ratio']:.2f}",
        f"  eight clients: {found['requests_per_s']:.2f} requests/s; beside two busy processes "
        f"{found['requests_per_s_busy']:.2f}",
        f"  ready after {found['ready_s']:.1f} s, {found['memory_mb']:.0f} MB",
        f"  worst difference from what was stored: {found['worst_difference_m']:.2g} m",
    ]
    if "before_p50_s" in found:
        lines.append(
            f"  before: p50 {found['before_p50_s']:.3f} s ({found['before_p50_s'] / found['p50_s']:.1f} times), eight "
            f"clients {found['before_requests_per_s']:.2f} and {found['before_requests_per_s_busy']:.2f} requests/s, "
            f"ready after {found['before_ready_s']:.1f} s, {found['before_memory_mb']:.0f} MB"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
