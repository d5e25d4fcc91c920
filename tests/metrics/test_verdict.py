"""A verdict must follow from figures calculated by hand; force overrules matters of judgement, but no broken blend."""

import numpy as np
import pytest

from atma18.metrics import scores, verdict
from atma18.metrics.verdict import Check, Gain, Verdict

GOOD = Check("lineage", True, "whole")
BROKEN = Check("servable", False, "it does not answer")
TIE = Check("gain", False, "0 m", overrulable=True)


@pytest.mark.parametrize(
    ("checks", "force", "accepted"),
    [
        pytest.param([GOOD], False, True, id="all passed"),
        pytest.param([GOOD, TIE], False, False, id="a judgement against it"),
        pytest.param([GOOD, TIE], True, True, id="overruled"),
        pytest.param([GOOD, BROKEN], False, False, id="broken"),
        pytest.param([GOOD, BROKEN], True, False, id="broken cannot be forced"),
        pytest.param([TIE, BROKEN], True, False, id="one of two cannot be forced"),
    ],
)
def test_force_passes_over_judgement_and_never_over_breakage(checks, force, accepted):
    assert Verdict(tuple(checks), force).accepted == accepted


def test_a_verdict_says_what_decided():
    assert Verdict((GOOD, TIE, BROKEN), force=False).why == "gain: 0 m; servable: it does not answer"
    assert Verdict((GOOD, TIE, BROKEN), force=True).why == "servable: it does not answer"
    assert Verdict((GOOD, TIE), force=True).why == "forced, although gain: 0 m"
    assert Verdict((TIE, GOOD), force=True).text.splitlines() == ["forced  gain      0 m", "passed  lineage   whole"]


def gain_of(candidate_m, other_m, sizes=None):
    """Of 40 scenes of one sample, whose targets are 0."""
    n = len(candidate_m)
    sizes = np.ones(n, dtype=int) if sizes is None else sizes
    [mix] = [p for p in scores.parts(sizes, test_sizes=np.array([1])) if p.name == scores.TESTMIX]
    wide = [np.repeat(np.asarray(v, dtype=float)[:, None], 18, axis=1) for v in (candidate_m, other_m)]
    return Gain.of(*wide, np.zeros((n, 18)), mix, np.arange(n).astype(np.str_))


def test_a_gain_is_that_of_the_test_mix_alone():
    """Pairs do not occur in the test split: what they gain does not count."""
    sizes = np.array([1] * 10 + [2] * 10)
    candidate_m, other_m = np.r_[np.full(10, 0.5), np.full(10, 9.0)], np.r_[np.full(10, 0.7), np.full(10, 0.0)]

    gain = gain_of(candidate_m, other_m, sizes)

    assert (gain.mean_m, gain.low_m, gain.high_m) == pytest.approx((0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("candidate_m", "min_gain_m", "passed"),
    [
        pytest.param(np.full(40, 0.4), 0.0, True, id="better everywhere"),
        pytest.param(np.full(40, 0.4), 0.2, False, id="better by less than asked"),
        pytest.param(np.full(40, 0.5), 0.0, False, id="a tie"),
        pytest.param(np.full(40, 0.6), 0.0, False, id="worse everywhere"),
        pytest.param(np.r_[np.full(21, 0.4), np.full(19, 0.6)], 0.0, False, id="better by chance"),
        pytest.param(np.r_[np.full(38, 0.4), np.full(2, 0.6)], 0.0, True, id="better but for a few"),
    ],
)
def test_a_gain_must_be_large_enough_and_beyond_doubt(candidate_m, min_gain_m, passed):
    check = gain_of(candidate_m, np.full(40, 0.5)).over_champion(min_gain_m)

    assert (check.passed, check.overrulable) == (passed, True)


@pytest.mark.parametrize(
    ("candidate_m", "passed"),
    [
        pytest.param(np.full(40, 0.4), True, id="better everywhere"),
        pytest.param(np.full(40, 0.5), False, id="a tie"),
        pytest.param(np.full(40, 0.6), False, id="worse everywhere"),
        pytest.param(np.r_[np.full(21, 0.4), np.full(19, 0.6)], False, id="better by chance"),
    ],
)
def test_a_candidate_must_beat_the_motion_model_beyond_doubt(candidate_m, passed):
    check = gain_of(candidate_m, np.full(40, 0.5)).over_motion()

    assert (check.name, check.passed, check.overrulable) == ("motion", passed, True)


@pytest.mark.parametrize(("gain_m", "stands"), [(0.25, "0.25000 m lower"), (-0.25, "0.25000 m higher")])
def test_the_check_against_the_motion_model_says_its_figures(gain_m, stands):
    found = Gain(gain_m, -0.5, 1.0).over_motion().found

    assert found == (
        f"test-mix MAE {stands} than that of the motion model, 95 % interval of the gain -0.50000 to 1.00000 m; "
        "asked for an interval above 0"
    )


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        pytest.param([COMMIT, COMMIT], True, id="committed"),
        pytest.param([COMMIT, f"{COMMIT}+dirty"], False, id="one dirty"),
        pytest.param(["none"], False, id="without git"),
        pytest.param([""], False, id="nothing recorded"),
    ],
)
def test_code_must_be_committed_in_every_run(states, passed):
    check = verdict.code_is_known({f"run {i}": state for i, state in enumerate(states)})

    assert (check.passed, check.overrulable) == (passed, True)


def test_the_setting_must_be_that_of_the_champion():
    ours = {"data": "a" * 64, "folds": "b" * 64}

    assert verdict.same_setting(ours, dict(ours)).passed
    other = verdict.same_setting(ours, ours | {"folds": "c" * 64})
    assert (other.passed, other.overrulable) == (False, True)
    assert "folds cccccccccccc" in other.found
    assert "data" not in other.found


@pytest.mark.parametrize(
    ("worst_m", "share", "same_machine", "passed"),
    [
        pytest.param(1e-5, 1.0, True, True, id="the same"),
        pytest.param(2e-4, 0.999, True, False, id="one number off on its own machine"),
        pytest.param(0.3, 0.995, False, True, id="a few off elsewhere"),
        pytest.param(0.3, 0.98, False, False, id="many off elsewhere"),
    ],
)
def test_a_servable_must_answer_what_was_stored(worst_m, share, same_machine, passed):
    check = verdict.reproduces(worst_m, share, 12, 1e-4, same_machine=same_machine)

    assert (check.passed, check.overrulable) == (passed, False)
