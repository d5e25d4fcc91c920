"""The report says what the metrics say, links every run, and leaves out whole sections rather than half of one."""

from dataclasses import dataclass

import pytest

from atma18 import report


@dataclass
class Board:
    markdown: str = "| step | run |\n| --- | --- |\n| gbdt | 0123456789abcdef |"


def figures(gain_m=0.02, low_m=0.01, high_m=0.03):
    gains = {"mean_m": gain_m, "low_m": low_m, "high_m": high_m}
    over_gbdt = {f"gain_over_gbdt/{name}": value for name, value in gains.items()}
    over_nn1 = {f"gain_over_nn1/{name}": value for name, value in (("mean_m", 0.2), ("low_m", -0.1), ("high_m", 0.5))}
    return {
        "nn1": {"oof_horizon/3.0s_m": 0.7},
        "gbdt": {"oof_horizon/3.0s_m": 0.5},
        "blend": {"oof_horizon/3.0s_m": 0.6, **over_nn1, **over_gbdt},
    }


def written(found=None, longest=5000):
    links = {"0123456789abcdef": "#/experiments/1/runs/0123456789abcdef"}
    return report.description(
        Board(),
        found or figures(),
        links,
        "[atma18-blend 3](#/there)",
        {"the same again": "do it"},
        "the tree",
        longest,
    )


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (
            (0.02, 0.01, 0.03),
            "0.0200 m better than gbdt, its best input**, by OOF MAE, beyond chance (95 % over scenes: +0.0100",
        ),
        ((0.02, -0.01, 0.05), "0.0200 m better than gbdt, its best input**, by OOF MAE, that may be chance"),
        ((-0.02, -0.03, -0.01), "0.0200 m worse than gbdt, its best input**, by OOF MAE, beyond chance"),
    ],
    ids=["better", "who knows", "worse"],
)
def test_it_says_first_whether_the_blend_beats_its_best_input(gain, said):
    assert written(figures(*gain)).startswith("**The blend is " + said)


def test_it_says_the_same_of_every_other_input():
    assert "It is 0.2000 m better than nn1, that may be chance (95 % over scenes: -0.1000 to +0.5000 m)." in written()


def test_it_ranks_the_steps_3_s_ahead():
    assert "best first: gbdt 0.500 m, blend 0.600 m, nn1 0.700 m." in written()


def test_it_leads_to_the_page_that_says_what_the_blend_was_made_from():
    first = written().split("\n")[0]
    assert first.endswith("[atma18-blend 3](#/there) has its weights and what it was made from.")


def test_runs_are_links_and_commands_can_be_copied():
    assert "| gbdt | [01234567](#/experiments/1/runs/0123456789abcdef) |" in written()
    assert "- the same again: `do it`" in written()
    assert written().endswith("```\nthe tree\n```")


def test_what_is_too_long_goes_whole():
    whole = written()

    shorter = written(longest=len(whole) - 1)

    assert shorter.endswith("- the same again: `do it`")
    assert shorter.count("```") == 0
    assert len(written(longest=200)) <= 200


def test_a_blend_of_one_input_gains_nothing():
    assert written({"blend": {}}).startswith("The blend has a single input.")
