"""A phase's figures measure the work inside it, and exist even if it failed."""

import mmap
import threading
import time

import psutil
import pytest

from atma18.compute.stopwatch import timed

LARGE_BYTES = 200_000_000
SEVERAL_LOOKS_S = 0.2  # memory is looked at every 0.05 s


def resident_bytes():
    return psutil.Process().memory_info().rss


def test_seconds_are_those_between_begin_and_end():
    outer = time.perf_counter()
    with timed("train") as phase:
        inner = time.perf_counter()
        time.sleep(0.03)
        inner = time.perf_counter() - inner
    outer = time.perf_counter() - outer

    assert 0.03 <= inner <= phase.figures["train/seconds"] <= outer


@pytest.mark.parametrize("samples", [1, 12345])
def test_samples_per_second_times_seconds_are_the_samples(samples):
    with timed("predict", samples) as phase:
        time.sleep(0.01)

    assert phase.figures["predict/samples_per_s"] * phase.figures["predict/seconds"] == pytest.approx(samples)


@pytest.mark.parametrize(
    ("samples", "names"),
    [
        pytest.param(0, {"fit/seconds", "fit/peak_memory_gb"}, id="without samples"),
        pytest.param(8, {"fit/seconds", "fit/peak_memory_gb", "fit/samples_per_s"}, id="with samples"),
    ],
)
def test_figures_carry_the_name_of_the_phase_and_are_there_once_it_is_over(samples, names):
    with timed("fit", samples) as phase:
        assert phase.figures == {}
    assert set(phase.figures) == names


def hold_memory():
    """Take fresh pages from the system for a while; the allocator may still hold pages that earlier tests freed."""
    with mmap.mmap(-1, LARGE_BYTES) as pages:
        for start in range(0, LARGE_BYTES, mmap.PAGESIZE):
            pages[start] = 1
        time.sleep(SEVERAL_LOOKS_S)


def test_peak_memory_holds_what_was_allocated_and_freed_inside():
    before = resident_bytes()
    with timed("load") as phase:
        hold_memory()

    peak_bytes = phase.figures["load/peak_memory_gb"] * 1e9
    # The interpreter may give back a little of its own meanwhile, and the watching thread needs a little.
    assert before + 0.95 * LARGE_BYTES < peak_bytes < before + 1.25 * LARGE_BYTES


def test_memory_of_an_earlier_phase_is_not_counted():
    with timed("first") as first:
        hold_memory()
    with timed("second") as second:
        time.sleep(SEVERAL_LOOKS_S)

    spared_gb = first.figures["first/peak_memory_gb"] - second.figures["second/peak_memory_gb"]
    assert spared_gb > 0.9 * LARGE_BYTES / 1e9


def test_a_phase_that_does_nothing_still_needs_the_memory_of_its_process():
    with timed("nothing") as phase:
        pass
    assert phase.figures["nothing/peak_memory_gb"] == pytest.approx(resident_bytes() / 1e9, rel=0.1)


def test_phases_inside_a_phase_have_figures_of_their_own():
    with timed("outer") as outer:
        with timed("inner") as inner:
            time.sleep(0.01)
        time.sleep(0.02)

    assert {name.split("/")[0] for name in inner.figures} == {"inner"}
    assert {name.split("/")[0] for name in outer.figures} == {"outer"}
    assert outer.figures["outer/seconds"] >= inner.figures["inner/seconds"] + 0.02


def test_a_phase_that_fails_fails_and_still_has_its_figures():
    with pytest.raises(KeyError, match="out of luck"), timed("train", 5) as phase:
        raise KeyError("out of luck")
    assert set(phase.figures) == {"train/seconds", "train/samples_per_s", "train/peak_memory_gb"}


@pytest.mark.parametrize("fails", [False, True])
def test_no_watcher_outlives_its_phase(fails):
    before = threading.active_count()
    try:
        with timed("train"):
            assert threading.active_count() == before + 1
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert threading.active_count() == before
