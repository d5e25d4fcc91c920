"""The service: an HTTP application around a version that may be replaced while it serves."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import pandas as pd
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp

from atma18.schema import Samples
from atma18.serving import bodies
from atma18.serving.answering import Answering
from atma18.serving.batching import Batcher, Limits
from atma18.serving.follow import Follower
from atma18.serving.guard import OUTSIDE_HEADER, Guard, RefusedError
from atma18.serving.request_rows import answer, parse
from atma18.serving.watching import Meters, Watched
from atma18.storage import strict_json

_READERS = 2
"""Threads that read requests, while another one predicts."""


class Service(FastAPI):
    """Answers requests with the version that a follower holds."""

    def __init__(self, follower: Follower, *, follows: bool, limits: Limits | None = None) -> None:
        super().__init__(lifespan=_running, openapi_url=None)
        self.follower = follower
        self.follows = follows
        self.meters = Meters()
        self.meters.serves(follower.current)
        self.batcher = Batcher(limits or Limits(), self.meters.batched)
        self.add_exception_handler(RefusedError, _refused)
        self.add_exception_handler(ValueError, _refused)
        self.add_api_route("/invocations", _invocations, methods=["POST"])
        for path, state in {"/health": _health, "/ready": _ready, "/version": _version, "/metrics": _metrics}.items():
            self.add_api_route(path, state, methods=["GET"])

    def build_middleware_stack(self) -> ASGIApp:
        """Put the guard around the application, and what watches around the guard."""
        return Watched(Guard(super().build_middleware_stack(), content_types=bodies.TAKEN), self.meters)


@asynccontextmanager
async def _running(service: FastAPI) -> AsyncIterator[None]:
    """Answer batches, and follow the alias, while the service runs."""
    assert isinstance(service, Service)
    follower = service.follower
    follower.swapped = service.meters.serves
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_READERS, "read"))
    batches = asyncio.create_task(service.batcher.run())
    if service.follows:
        threading.Thread(target=follower.run, name="follower", daemon=True).start()
    try:
        yield
    finally:
        follower.end()
        batches.cancel()
        with suppress(asyncio.CancelledError):
            await batches


async def _invocations(request: Request) -> Response:
    service: Service = request.app
    answering = service.follower.current
    content_type, body = request.headers.get("content-type", ""), await request.body()
    rows, samples = await asyncio.to_thread(_read, content_type, body, answering)
    predicted_m = await service.batcher.ask(answering, samples)
    outside = answering.servable.outside(samples)
    far = int((outside != "").sum())
    service.meters.outside.inc(far)
    request.state.told.update(samples=len(samples), outside=far, version=answering.version, run_id=answering.run_id)
    table = answer(rows, samples, predicted_m, outside)
    told = {"model": _named(answering), "request_id": request.state.request_id}
    content, kind = bodies.write(request.headers.get("accept", ""), table, told)
    return Response(content, media_type=kind, headers={OUTSIDE_HEADER.decode(): str(far)})


def _read(content_type: str, body: bytes, answering: Answering) -> tuple[pd.DataFrame, Samples]:
    rows = bodies.read(content_type, body)
    return rows, parse(rows, answering.servable.sensors)


def _named(answering: Answering) -> dict[str, Any]:
    return {"name": answering.model, "version": answering.version, "run_id": answering.run_id}


async def _health(request: Request) -> Response:
    """Say which version answers, and what keeps another one from it; the status is 200 as long as one answers."""
    follower = request.app.follower
    state = {
        "status": "stale" if follower.stale else "ok",
        "model": _named(follower.current),
        "rehearsed": follower.current.rehearsed,
        "follows": request.app.follows,
        "registry": follower.trouble or "ok",
        "registry_silent_s": round(_silent_s(request.app), 1),
        "refused": {str(number): why for number, why in follower.refused.items()},
    }
    return _json(state)


async def _ready(request: Request) -> Response:
    return _json({"ready": True, "version": request.app.follower.current.version})


async def _version(request: Request) -> Response:
    return _json(_named(request.app.follower.current))


async def _metrics(request: Request) -> Response:
    meters = request.app.meters
    meters.refused.set(len(request.app.follower.refused))
    meters.silent.set(_silent_s(request.app))
    return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)


def _silent_s(service: Service) -> float:
    """Return for how long the registry has not answered; 0 if nobody asks it."""
    return time.monotonic() - service.follower.looked_s if service.follows else 0.0


def _json(value: dict[str, Any]) -> Response:
    return Response(strict_json.dumps(value), media_type=bodies.JSON)


async def _refused(request: Request, error: Exception) -> Response:
    """Answer an error with its text, which the guard turns into one line of JSON."""
    status = error.status if isinstance(error, RefusedError) else 400
    return Response(str(error), status)
