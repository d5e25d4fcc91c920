"""Parts side by side: results in order, one thread each, and all of them end soon if one fails or the process must."""

import os
import signal
import threading
import time

import pytest
import torch

from atma18.compute.side_by_side import Lane, StoppedError, at_once, side_by_side

SOON_S = 10.0  # a part that is never told to end would go on for this long


def until_told(lane):
    """Work until the lane says that the work is to end; return whether it did."""
    end_s = time.monotonic() + SOON_S
    while time.monotonic() < end_s:
        lane.check()
        time.sleep(0.005)
    raise AssertionError("expected to be told to end")


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_results_stand_in_the_order_of_the_parts_whichever_ends_first(threads):
    def work(part, lane):
        time.sleep(0.05 * (3 - part))
        return 10 * part

    assert side_by_side(work, range(3), threads) == [0, 10, 20]
    assert side_by_side(work, [], threads) == []


@pytest.mark.parametrize(
    ("threads", "parts", "expected"),
    [
        pytest.param(1, 3, 1, id="one core does one part after the other"),
        pytest.param(2, 3, 3, id="one more than there are cores"),
        pytest.param(2, 5, 3, id="not all parts at once"),
        pytest.param(16, 5, 5, id="never more than there are parts"),
    ],
)
def test_so_many_parts_are_at_work_at_once(threads, parts, expected):
    at_work, most, turn = [0], [0], threading.Lock()

    def work(part, lane):
        with turn:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.1)
        with turn:
            at_work[0] -= 1

    side_by_side(work, range(parts), threads)

    assert at_once(threads, parts) == expected == most[0]


@pytest.mark.parametrize(
    ("threads", "each", "expected"),
    [
        pytest.param(2, None, 1, id="fewer cores than parts"),
        pytest.param(16, None, 5, id="an equal share"),
        pytest.param(16, 1, 1, id="as given"),
    ],
)
def test_a_part_has_its_share_of_the_threads_and_afterwards_all_is_as_before(threads, each, expected):
    before = torch.get_num_threads()

    told = side_by_side(lambda part, lane: (lane.threads, torch.get_num_threads()), range(3), threads, each)

    assert told == [(expected, expected)] * 3
    assert torch.get_num_threads() == before


def test_reports_never_overlap():
    inside, seen = [], []

    def report(part):
        inside.append(part)
        time.sleep(0.001)
        seen.append(len(inside))
        inside.remove(part)
        return part

    side_by_side(lambda part, lane: [lane.in_turn(report)(part) for _ in range(20)], range(4), 4)

    assert seen == [1] * 80


def test_one_failure_ends_all_parts_and_is_what_is_raised():
    ended = []

    def work(part, lane):
        if part == 1:
            time.sleep(0.05)
            raise FloatingPointError("fold 1")
        try:
            until_told(lane)
        except StoppedError:
            ended.append(part)
            raise

    started_s = time.monotonic()
    with pytest.raises(FloatingPointError, match="fold 1"):
        side_by_side(work, range(6), 2)

    assert {0, 2} <= set(ended) <= {0, 2, 3}  # another may have begun in the place of the one that failed
    assert time.monotonic() - started_s < SOON_S


def test_an_interruption_of_the_process_ends_all_parts():
    ended = []

    def work(part, lane):
        if part == 0:
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)
        try:
            until_told(lane)
        except StoppedError:
            ended.append(part)
            raise

    before, handler = torch.get_num_threads(), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            side_by_side(work, range(3), 2)
    finally:
        signal.signal(signal.SIGINT, handler)

    assert sorted(ended) == [0, 1, 2]
    assert torch.get_num_threads() == before


def test_a_lane_of_its_own_never_stops():
    lane = Lane(4)

    assert lane.in_turn(lambda a, b: a + b)(1, b=2) == 3
