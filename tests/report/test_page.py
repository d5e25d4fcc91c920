"""The report agrees with the metrics, links every run, and omits whole sections if it is too long."""

from dataclasses import dataclass

import numpy as np
import pytest

from atma18 import report


@dataclass
class Board:
    markdown: str = "| step | run |\n| --- | --- |\n| gbdt | 0123456789abcdef |"


def figures(gain_m=0.02, low_m=0.01, high_m=0.03):
    gains = {"mean_m": gain_m, "low_m": low_m, "high_m": high_m}
    over_gbdt = {f"gain_over_gbdt/{name}": value for name, value in gains.items()}
    over_nn1 = {f"gain_over_nn1/{name}": value for name, value in (("mean_m", 0.2), ("low_m", -0.1), ("high_m", 0.5))}
    return {**over_nn1, **over_gbdt}


def written(longest=5000):
    links = {"0123456789abcdef": "#/experiments/1/runs/0123456789abcdef"}
    return report.description(["first.", "second."], Board(), links, {"the same again": "do it"}, "the tree", longest)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.02, 0.01, 0.03), "beats gbdt beyond chance, may be no better than nn1**: +0.0200 m over gbdt (95 % "),
        ((0.02, -0.01, 0.05), "may be no better than gbdt and nn1**: +0.0200 m over gbdt (95 % -0.0100 to +0.0500)"),
        ((-0.02, -0.03, -0.01), "may be no better than nn1, is worse than gbdt**: -0.0200 m over gbdt (95 % "),
    ],
    ids=["better", "who knows", "worse"],
)
def test_it_says_first_which_inputs_the_blend_beats(gain, said):
    assert report.gain(figures(*gain)).startswith("**The blend " + said)
    assert report.gain(figures()).endswith("+0.2000 m over nn1 (95 % -0.1000 to +0.5000), over all horizons.")


def test_it_ranks_the_steps_3_s_ahead(tiny):
    """At 3 s x, y and z are wrong by 0.3, 0.6 and 0.9 m, so the mean is 0.6 m; at other horizons by more."""
    off_m = np.tile([0.3, 0.6, 0.9], 6) + np.repeat([9.0, 9.0, 9.0, 9.0, 9.0, 0.0], 3)

    said = report.ahead(tiny, {"a": tiny.targets_m + 2 * off_m, "b": tiny.targets_m + off_m}, tiny.targets_m + 1.5)

    assert said.startswith("**3 s ahead b is best: 0.600 m**, ahead of a by 0.6000 m (95 % +0.6000 to +0.6000), beyond")
    assert said.endswith(" Then a 1.200 m; constant velocity 1.500 m.")


def test_answers_come_first():
    assert written().startswith("- first.\n- second.\n\n### Leaderboard")


def test_runs_are_links_and_commands_can_be_copied():
    assert "| gbdt | [01234567](#/experiments/1/runs/0123456789abcdef) |" in written()
    assert "- the same again: `do it`" in written()
    assert written().endswith("```\nthe tree\n```")


def test_what_is_too_long_goes_whole():
    whole = written()

    shorter = written(longest=len(whole) - 1)

    assert shorter.endswith("- the same again: `do it`")
    assert shorter.count("```") == 0
    assert written(longest=30) == "- first.\n- second."


def test_a_blend_of_one_input_gains_nothing():
    assert report.gain({}) == "**The blend has a single input.**"
