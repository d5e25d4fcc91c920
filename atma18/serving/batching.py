"""Micro-batching: requests that arrive together, or while others are answered, share one pass."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from atma18.schema import FloatArray, Samples
from atma18.serving.answering import Answering
from atma18.serving.guard import RefusedError


@dataclass(frozen=True)
class Limits:
    """How much may wait, and for how long."""

    most_waiting: int = 256
    """Requests in the queue; further ones are refused with 429."""
    most_samples: int = 256
    """Samples of a batch, unless a single request has more."""
    longest_wait_ms: float = 2.0
    """The time in which others may join the first request of a batch."""
    longest_answer_s: float = 60.0
    """The time in which a request must be answered; then it is refused with 504."""


@dataclass(frozen=True, eq=False)
class Ticket:
    """A request that waits, with the version that was serving when it came: this one answers it."""

    answering: Answering
    samples: Samples
    predicted_m: "asyncio.Future[FloatArray]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


async def next_batch(waiting: "asyncio.Queue[Ticket]", limits: Limits) -> list[Ticket]:
    """Wait for one request, then for others until the batch is full or `longest_wait_ms` have passed."""
    batch = [await waiting.get()]
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.longest_wait_ms / 1000):
            while sum(len(ticket.samples) for ticket in batch) < limits.most_samples:
                batch.append(await waiting.get())
    return batch


def by_version(batch: Iterable[Ticket]) -> list[list[Ticket]]:
    """Group the tickets of a batch by the version that answers them, the first to come first."""
    groups: dict[int, list[Ticket]] = {}
    for ticket in batch:
        groups.setdefault(id(ticket.answering), []).append(ticket)
    return list(groups.values())


def answer(tickets: Sequence[Ticket]) -> list[FloatArray | Exception]:
    """Answer the tickets of one version in one pass; if it fails, each alone, so that one cannot fail the others."""
    answering = tickets[0].answering
    try:
        return list(answering.predict([ticket.samples for ticket in tickets]))
    except Exception as error:  # noqa: BLE001 - the one border: every waiting request must hear of it
        return [error] if len(tickets) == 1 else [outcome for ticket in tickets for outcome in answer([ticket])]


class Batcher:
    """Answers tickets, one batch after the other, in a thread of its own: torch keeps workers for each thread."""

    def __init__(self, limits: Limits, measure: Callable[[Sequence[Ticket]], None]) -> None:
        self.limits = limits
        self._measure = measure
        self._waiting: asyncio.Queue[Ticket] = asyncio.Queue(limits.most_waiting)
        self._thread = ThreadPoolExecutor(1, "predict")

    async def ask(self, answering: Answering, samples: Samples) -> FloatArray:
        """Return the (N, 18) waypoints of a request, in metres, vehicle frame at t.

        Raises:
            RefusedError: If too many requests wait (429), or the answer takes too long (504).
            ValueError: If the model cannot answer.
        """
        ticket = Ticket(answering, samples)
        try:
            self._waiting.put_nowait(ticket)
        except asyncio.QueueFull as error:
            most = self.limits.most_waiting
            raise RefusedError(
                429, f"expected at most {most} requests waiting, found as many: ask again in a second"
            ) from error
        try:
            async with asyncio.timeout(self.limits.longest_answer_s):
                return await ticket.predicted_m
        except TimeoutError as error:
            longest_s = self.limits.longest_answer_s
            raise RefusedError(
                504, f"expected an answer within {longest_s:g} s, found none: send less at once"
            ) from error

    async def run(self) -> None:
        """Answer batch after batch until cancelled."""
        while True:
            for tickets in by_version(await next_batch(self._waiting, self.limits)):
                wanted = [ticket for ticket in tickets if not ticket.predicted_m.done()]  # else nobody waits any more
                if wanted:
                    self._measure(wanted)
                    outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, answer, wanted)
                    for ticket, outcome in zip(wanted, outcomes, strict=True):
                        _settle(ticket, outcome)


def _settle(ticket: Ticket, outcome: FloatArray | Exception) -> None:
    if ticket.predicted_m.done():
        return
    if isinstance(outcome, Exception):
        ticket.predicted_m.set_exception(outcome)
    else:
        ticket.predicted_m.set_result(outcome)
