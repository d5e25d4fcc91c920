"""Watching a service: figures for Prometheus, a line of JSON for each request, and the ID of a request."""

import json
import logging
import re
import time
import uuid
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atma18.serving.answering import Answering
from atma18.serving.batching import Ticket

log = logging.getLogger("atma18.access")
"""One line of JSON for each request."""
REQUEST_ID_HEADER = b"x-request-id"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60)
_SAMPLES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 4096)
_KINDS = {408: "slow body", 413: "large body", 415: "content type", 429: "queue full", 504: "too slow"}


class Meters:
    """What `/metrics` shows; each service has its own."""

    def __init__(self) -> None:
        self.registry = to = CollectorRegistry()
        self.seconds = Histogram("atma18_request_seconds", "Time of an answer.", buckets=_SECONDS, registry=to)
        self.answers = Counter("atma18_answers", "Answers by status.", ["status"], registry=to)
        self.refusals = Counter("atma18_refusals", "Requests that were refused, by kind.", ["kind"], registry=to)
        self.batch = Histogram("atma18_batch_samples", "Samples predicted at once.", buckets=_SAMPLES, registry=to)
        self.joined = Counter("atma18_batched_requests", "Requests that shared a batch with others.", registry=to)
        self.outside = Counter("atma18_outside_samples", "Samples outside the trained range.", registry=to)
        self.version = Gauge("atma18_version", "The number of the version that answers.", registry=to)
        self.refused = Gauge("atma18_refused_versions", "Versions that were wanted and may not serve.", registry=to)
        self.silent = Gauge("atma18_registry_silent_seconds", "Since when the registry is silent.", registry=to)

    def batched(self, tickets: Sequence[Ticket]) -> None:
        """Count a batch."""
        self.batch.observe(sum(len(ticket.samples) for ticket in tickets))
        self.joined.inc(len(tickets) if len(tickets) > 1 else 0)

    def serves(self, answering: Answering) -> None:
        """Show which version answers."""
        self.version.set(answering.version)


class Watched:
    """ASGI middleware that gives each request an ID, measures it, and logs one line of JSON about it.

    A route tells more in `scope["state"]["told"]`, a dictionary whose content joins the line.
    """

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self.app = app
        self.meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other ASGI messages are passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(dict(scope["headers"]).get(REQUEST_ID_HEADER, b"").decode("latin-1"))
        told: dict[str, object] = {}
        scope.setdefault("state", {}).update(request_id=request_id, told=told)
        began_s, status = time.perf_counter(), 0  # 0: the client has gone

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], (REQUEST_ID_HEADER, request_id.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            took_s = time.perf_counter() - began_s
            if scope["path"] == "/invocations":
                self._measure(status, took_s)
                log.info(json.dumps(_line(scope, request_id, status, took_s) | told))

    def _measure(self, status: int, took_s: float) -> None:
        self.meters.answers.labels(str(status)).inc()
        if status >= 400:
            self.meters.refusals.labels(_KINDS.get(status, "input" if status < 500 else "failure")).inc()
        else:
            self.meters.seconds.observe(took_s)


def _request_id(given: str) -> str:
    """Return the client's ID of a request if it may stand in a log, else a new one."""
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _line(scope: Scope, request_id: str, status: int, took_s: float) -> dict[str, object]:
    client = scope.get("client") or ("", 0)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request_id": request_id,
        "client": client[0],
        "status": status,
        "took_ms": round(took_s * 1000, 1),
    }
