"""A guard around MLflow's scoring server: it limits the cost of a request, and answers errors with one line of JSON.

MLflow's own server reads bodies of any size and for any time, returns rows of the request and tracebacks, and answers
500 to JSON that is nested too deeply or has no content type. The guard answers each such request with a 4xx status and
`{"error_code": …, "message": …}`.
"""

import asyncio
import json

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atma18.schema import OUTSIDE

OUTSIDE_HEADER = b"x-outside-training-range"
"""The header with the number of samples outside the range of the training drives."""
LARGEST_BODY_MB = 16
"""About 300 samples; a scene has at most 6. JSON can need thirty times its size in memory."""
LONGEST_BODY_S = 60
"""The longest time in which a body must arrive."""
_LONGEST_MESSAGE = 500
_CODES = {404: "ENDPOINT_NOT_FOUND", 429: "BUSY", 500: "INTERNAL_ERROR", 504: "DEADLINE_EXCEEDED"}
_OF_MLFLOW = "application/json or application/vnd.apache.parquet"


class RefusedError(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guarded(FastAPI):
    """A server behind the guard."""

    def build_middleware_stack(self) -> ASGIApp:
        """Put the guard around all middleware of the server, its timeout included."""
        return Guard(super().build_middleware_stack())


class Guard:
    """ASGI middleware that passes on complete bodies of a limited size, and answers errors with one line of JSON."""

    def __init__(
        self,
        app: ASGIApp,
        largest_body_mb: float = LARGEST_BODY_MB,
        longest_body_s: float = LONGEST_BODY_S,
        content_types: str = _OF_MLFLOW,
    ) -> None:
        self.app = app
        self.content_types = content_types
        self.largest_body_mb = largest_body_mb
        self.longest_body_s = longest_body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other ASGI messages are passed on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            body = await self._whole_body(scope, receive)
            if body is not None:  # else the client has disconnected
                await self.app(scope, _first(body, receive), answer.send)
        except RefusedError as refusal:
            answer.refuse(refusal.status, str(refusal))
        except (RecursionError, ValueError) as error:  # JSON nested too deeply, or a number with too many digits
            answer.refuse(400, f"expected a body that can be read, found one that cannot: {error}")
        finally:
            await answer.finish()

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read the body. A body that is too large is received and discarded, or the client would not read the answer.

        Returns:
            The body, or None if the client disconnects.

        Raises:
            RefusedError: If the body is too large or too slow, or the request has no content type.
        """
        body, size_bytes, largest_bytes = bytearray(), 0, self.largest_body_mb * 1e6
        try:
            async with asyncio.timeout(self.longest_body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    size_bytes += len(message.get("body", b""))
                    if size_bytes <= largest_bytes:
                        body += message.get("body", b"")
                    else:
                        body.clear()
                    if not message.get("more_body"):
                        break
        except TimeoutError as error:
            raise RefusedError(408, f"expected the whole body within {self.longest_body_s:g} s") from error
        if size_bytes > largest_bytes:
            found = f"found {size_bytes / 1e6:.1f} MB: ask for fewer scenes at a time"
            raise RefusedError(413, f"expected a body of at most {self.largest_body_mb:g} MB, {found}")
        if scope["method"] == "POST":
            self._check_content_type(dict(scope["headers"]).get(b"content-type", b"").decode("latin-1"))
        return bytes(body)

    def _check_content_type(self, found: str) -> None:
        """Refuse a body without a type, and CSV, because MLflow needs typed columns to read it, and ours have none."""
        if not found or found.split(";")[0].strip().lower() == "text/csv":
            raise RefusedError(
                415, f"expected the content type {self.content_types}, found {one_line(found) or 'none'}"
            )


def _first(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields this body first, then further messages."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_next() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_next


class _Answer:
    """Collects an answer and sends it at the end, when it is known whether it is an error, and what it says."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._refused_with: int | None = None
        self._text = bytearray()

    async def send(self, message: Message) -> None:
        """Keep a part of the server's answer."""
        if message["type"] == "http.response.start":
            self._start = message
            self._refused_with = message["status"] if message["status"] >= 400 else None
        else:
            self._text += message.get("body", b"")

    def refuse(self, status: int, reason: str) -> None:
        """Replace the server's answer by a refusal."""
        self._refused_with, self._text = status, bytearray(reason.encode())

    async def finish(self) -> None:
        """Send the answer, if there is one."""
        if self._refused_with is not None:
            await self._finish_refused(self._refused_with)
        elif self._start is not None:
            headers = list(self._start["headers"])
            if OUTSIDE_HEADER not in dict(headers):
                headers += _told(bytes(self._text))
            await self._send({**self._start, "headers": headers})
            await self._send({"type": "http.response.body", "body": bytes(self._text)})

    async def _finish_refused(self, status: int) -> None:
        message, code = _reason(bytes(self._text))
        reply = {"error_code": code or _CODES.get(status, "BAD_REQUEST"), "message": one_line(message)}
        content = json.dumps(reply).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})


def _told(text: bytes) -> list[tuple[bytes, bytes]]:
    """Return the header that says how many samples of an answer lie outside the range of the training drives."""
    try:
        rows = json.loads(text)["predictions"]
        count = sum(bool(row[OUTSIDE]) for row in rows)
    except (ValueError, KeyError, TypeError):  # another answer than predictions
        return []
    return [(OUTSIDE_HEADER, str(count).encode())]


def _reason(text: bytes) -> tuple[str, str]:
    """Return the message and the code of an error of MLflow or FastAPI."""
    try:
        answer = json.loads(text)
        return str(answer.get("message") or answer["detail"]), str(answer.get("error_code", ""))
    except (ValueError, KeyError, AttributeError):
        return text.decode(errors="replace"), ""


def one_line(message: str) -> str:
    """Return MLflow's message without the request that it repeats."""
    text = message.split("\nInput:")[0].split("IMPORTANT: The MLflow Model scoring protocol")[0]
    if text.startswith("Failed to predict data"):
        text = text.rpartition("Error: ")[2]
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]} …"
