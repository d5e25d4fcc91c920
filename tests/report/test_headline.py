"""The headline says whether the blend beats the motion model beyond chance, and names the best input where it must."""

import pytest

from atma18.report.headline import headline


def figures(mean_m, low_m, high_m, mae_m=0.25):
    gain = {"mean_m": mean_m, "low_m": low_m, "high_m": high_m}
    return {"oof/mae_m": mae_m, **{f"gain_over_motion/{name}": value for name, value in gain.items()}}


@pytest.mark.parametrize(
    ("gain", "line"),
    [
        pytest.param(
            (0.02, 0.01, 0.03),
            "The blend beats the motion model beyond chance: gain +0.0200 m (95 % +0.0100 to +0.0300).",
            id="better",
        ),
        pytest.param(
            (0.02, -0.01, 0.05),
            "The blend may be no better than the motion model: gain +0.0200 m (95 % -0.0100 to +0.0500). "
            "Its best input is gbdt with 0.2600 m; the blend has 0.2500 m.",
            id="perhaps",
        ),
        pytest.param(
            (0.0, 0.0, 0.0),
            "The blend may be no better than the motion model: gain +0.0000 m (95 % +0.0000 to +0.0000). "
            "Its best input is gbdt with 0.2600 m; the blend has 0.2500 m.",
            id="a tie",
        ),
        pytest.param(
            (-0.02, -0.03, -0.01),
            "The blend is worse than the motion model beyond chance: gain -0.0200 m (95 % -0.0300 to -0.0100). "
            "Its best input is gbdt with 0.2600 m; the blend has 0.2500 m.",
            id="worse",
        ),
    ],
)
def test_it_says_what_the_interval_of_the_gain_allows(gain, line):
    assert headline(figures(*gain), {"nn1": 0.3, "gbdt": 0.26}) == line


def test_an_input_with_a_lower_error_than_the_blend_is_named_even_if_the_blend_beats_the_motion_model():
    line = headline(figures(0.02, 0.01, 0.03, mae_m=0.25), {"nn1": 0.3, "gbdt": 0.24})

    assert line.startswith("The blend beats the motion model beyond chance: ")
    assert line.endswith(" Its best input is gbdt with 0.2400 m; the blend has 0.2500 m.")


def test_an_input_with_the_error_of_the_blend_is_not_named():
    assert "best input" not in headline(figures(0.02, 0.01, 0.03, mae_m=0.25), {"gbdt": 0.25})
