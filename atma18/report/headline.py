"""The headline of a `main`: whether its blend beats the motion model beyond chance."""

from collections.abc import Mapping


def headline(blend: Mapping[str, float], inputs_m: Mapping[str, float]) -> str:
    """Return one line on the gain of a blend over the motion model.

    The line names the best input too, if the gain may be chance or if that input has a lower error than the blend.

    Args:
        blend: the metrics of the blend's run.
        inputs_m: by input, its MAE, metres.
    """
    mean_m, low_m, high_m = (blend[f"gain_over_motion/{what}_m"] for what in ("mean", "low", "high"))
    if low_m > 0:
        verdict = "The blend beats the motion model beyond chance"
    elif high_m < 0:
        verdict = "The blend is worse than the motion model beyond chance"
    else:
        verdict = "The blend may be no better than the motion model"
    best, ours_m = min(inputs_m, key=lambda name: inputs_m[name]), blend["oof/mae_m"]
    line = f"{verdict}: gain {mean_m:+.4f} m ({interval(low_m, high_m)})."
    if low_m > 0 and ours_m <= inputs_m[best]:
        return line
    return f"{line} Its best input is {best} with {inputs_m[best]:.4f} m; the blend has {ours_m:.4f} m."


def interval(low_m: float, high_m: float) -> str:
    """Return the text of a 95 % interval."""
    return f"95 % {low_m:+.4f} to {high_m:+.4f}"
