"""Batches: what shares one, who refuses whom, and that no request hears of another's failure."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from atma18.serving.batching import Batcher, Limits, Ticket, by_version, next_batch
from atma18.serving.guard import RefusedError

SOON = Limits(longest_wait_ms=20)


class Version:
    """Answers each sample with ten times its value, and remembers what it was asked at once."""

    def __init__(self, broken=()):
        self.batches, self.broken = [], broken

    def predict(self, requests):
        self.batches.append([list(samples) for samples in requests])
        if any(sample in self.broken for samples in requests for sample in samples):
            raise ValueError("expected another sample")
        return [np.array(samples) * 10 for samples in requests]


def asked(limits, *asks):
    """Ask at once; each of `asks` is a version and samples. Return the answers, errors among them, and the batches."""
    measured = []

    async def all_at_once():
        batcher = Batcher(limits, lambda tickets: measured.append(len(tickets)))
        running = asyncio.create_task(batcher.run())
        answers = await asyncio.gather(*(batcher.ask(*each) for each in asks), return_exceptions=True)
        running.cancel()
        return answers

    return asyncio.run(all_at_once()), measured


def test_requests_that_come_together_are_answered_together_each_with_its_own():
    version = Version()
    answers, measured = asked(SOON, (version, [1, 2]), (version, [3]), (version, [4, 5, 6]))

    assert [list(answer) for answer in answers] == [[10, 20], [30], [40, 50, 60]]
    assert version.batches == [[[1, 2], [3], [4, 5, 6]]]
    assert measured == [3]


def test_one_that_fails_does_not_fail_the_others():
    version = Version(broken={3})
    answers, _ = asked(SOON, (version, [1]), (version, [3]), (version, [5]))

    assert [list(answers[0]), list(answers[2])] == [[10], [50]]
    assert str(answers[1]) == "expected another sample"
    assert version.batches == [[[1], [3], [5]], [[1]], [[3]], [[5]]]


def test_two_versions_never_share_a_pass():
    old, new = Version(), Version()
    answers, measured = asked(SOON, (old, [1]), (new, [2]), (old, [3]))

    assert [list(answer) for answer in answers] == [[10], [20], [30]]
    assert (old.batches, new.batches) == ([[[1], [3]]], [[[2]]])
    assert measured == [2, 1]


def test_a_full_queue_refuses_at_once():
    answers, _ = asked(Limits(most_waiting=2, longest_wait_ms=20), *((Version(), [k]) for k in range(3)))

    refused = [answer for answer in answers if isinstance(answer, RefusedError)]
    assert [answer.status for answer in refused] == [429]
    assert "expected at most 2 requests waiting, found as many" in str(refused[0])


def test_an_answer_that_takes_too_long_is_refused():
    slow = SimpleNamespace(predict=lambda requests: asyncio.run(asyncio.sleep(0.3)) or [np.zeros(1)])
    [answer], _ = asked(Limits(longest_answer_s=0.05), (slow, [1]))

    assert isinstance(answer, RefusedError)
    assert answer.status == 504


@pytest.mark.parametrize(("most_samples", "expected"), [(3, [2, 2]), (4, [2, 2]), (100, [2, 2, 2]), (1, [2])])
def test_a_batch_is_full_with_so_many_samples_and_a_request_is_never_split(most_samples, expected):
    async def first():
        waiting = asyncio.Queue()
        for _ in range(3):
            waiting.put_nowait(Ticket(Version(), [1, 2]))
        return await next_batch(waiting, Limits(most_samples=most_samples, longest_wait_ms=20))

    assert [len(ticket.samples) for ticket in asyncio.run(first())] == expected


def test_tickets_are_grouped_by_the_very_version_that_was_serving():
    async def grouped():
        one, other = Version(), Version()
        return [len(group) for group in by_version([Ticket(v, [1]) for v in (one, other, one, one)])]

    assert asyncio.run(grouped()) == [3, 1]
