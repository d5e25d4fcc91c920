"""Statistics of the competition's training samples from participants' public notebooks, with the accepted ranges."""

from dataclasses import dataclass

# Mean, standard deviation and quartiles.
SIGNALS = {
    "vEgo": (9.1722, 7.2269, 2.5787, 8.5188, 14.2868),
    "aEgo": (-0.01565, 0.6324, -0.2364, 0.0, 0.2223),
    "steeringAngleDeg": (-2.065, 65.549, -3.462, -0.356, 2.627),
    "steeringTorque": (-19.01, 110.80, -94.0, -13.0, 51.0),
    "gas": (0.0840, 0.1098, 0.0, 0.0, 0.165),
}
STATISTICS = ("mean", "std", "25 %", "50 %", "75 %")
FLAG_SHARES = {"brakePressed": 0.3076, "gasPressed": 0.4836, "leftBlinker": 0.0780, "rightBlinker": 0.1027}
GEAR_SHARES = {"drive": 43251 / 43371, "park": 115 / 43371, "neutral": 3 / 43371, "reverse": 2 / 43371}
# Standard deviation and quartiles of the difference to the sample 10 s earlier.
DIFFERENCES = {
    "vEgo": (2.6, -1.0, 1.0),
    "aEgo": (0.86, -0.32, 0.37),
    "gas": (0.127, None, None),
    "steeringAngleDeg": (74.6, -3.2, 3.2),
    "steeringTorque": (150.0, None, None),
}
TARGET_STD_M = {
    "x": (3.267, 6.894, 10.521, 14.147, 17.773, 21.398),
    "y": (0.1169, 0.3277, 0.6377, 1.0418, 1.5345, 2.1111),
    "z": (0.0407, 0.0834, 0.1271, 0.1729, 0.2208, 0.2717),
}
MEAN_DEVIATION_OF_STD = 1.067 / 2.1111
"""Of y_5: heavy tails."""
AT_REST_SHARE, LIT_SHARE, BOXES_PER_LIT = 0.14, 6960 / 45098, 14417 / 6960
BOXES = {
    "green": 5879,
    "red": 4915,
    "empty": 1352,
    "yellow": 682,
    "straight": 647,
    "left": 576,
    "right": 306,
    "other": 60,
}
LADDER_M = {
    "constant mean": (3.70, 3.3, 4.1),
    "ridge on vEgo": (0.4333, 0.38, 0.48),
    "ridge on all CAN": (0.3402, 0.30, 0.38),
    "XGBoost on all CAN": (0.2356, 0.22, 0.26),
}
"""MAE in m, cross-validated on scene-grouped folds, and its range."""

TOLERANCE, TOLERANCE_OF_STD = 0.15, 0.05
SHARE_POINTS = 0.03


@dataclass(frozen=True)
class Line:
    """One comparison."""

    what: str
    found: float
    published: float | None
    low: float
    high: float

    @property
    def alike(self) -> bool:
        """Whether what was found lies in the range."""
        return bool(self.low <= self.found <= self.high)

    def __str__(self) -> str:
        published = "" if self.published is None else f"{self.published:.4f}"
        verdict = "alike" if self.alike else "UNLIKE"
        return f"{self.what:45} {self.found:10.4f} {published:>10}   {self.low:9.4f} … {self.high:<9.4f} {verdict}"


def near(what: str, found: float, published: float, std: float) -> Line:
    """Compare within 15 %, or 0.05 of the signal's standard deviation, whichever is larger."""
    slack = max(TOLERANCE * abs(published), TOLERANCE_OF_STD * std)
    return Line(what, found, published, published - slack, published + slack)


def share(what: str, found: float, published: float) -> Line:
    """Compare within 3 points."""
    return Line(f"{what}, share", found, published, published - SHARE_POINTS, published + SHARE_POINTS)
