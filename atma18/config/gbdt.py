"""The configuration of gbdt."""

from dataclasses import KW_ONLY
from typing import Literal

from pydantic import Field

from atma18.config.checking import checked
from atma18.config.fields import Fixed
from atma18.config.shared_fields import Causal, Seed

Engine = Literal["xgboost", "catboost"]
BoostedTarget = Literal["absolute", "residual", "motion", "stacked"]
TURNS: tuple[Engine, ...] = ("xgboost", "catboost")
_MOST_BAGS = 1000
"""Far beyond what any preset has: no file could contradict a bundle that asks for more in time."""


@checked
class GbdtConfig:
    """Gradient-boosted trees for each fold. Names follow XGBoost."""

    learning_rate: float = Field(gt=0)
    """Share of each tree in the sum."""
    rounds: int = Field(ge=1)
    """Most rounds of boosting."""
    _: KW_ONLY
    engine: Literal["xgboost", "catboost", "both"] = "xgboost"
    """What grows the trees; with both, XGBoost and CatBoost take turns by bag."""
    early_stopping_rounds: Fixed[int] = Field(default=100, ge=1)
    """Rounds without a better MAE on held-out scenes of the training part before boosting ends."""
    bags: int = Field(default=1, ge=1, le=_MOST_BAGS)
    """Boosters for each target, each stopped early on other scenes; their mean is predicted."""
    max_depth: int = Field(default=11, ge=1)
    """Most splits from the root of a tree to a leaf."""
    min_child_weight: Fixed[float] = 9.0
    """Least sum of weights in a leaf."""
    gamma: Fixed[float] = 0.15
    """Least reduction of the loss by a split."""
    reg_alpha: Fixed[float] = 3.25
    """L1 penalty of the leaves."""
    reg_lambda: Fixed[float] = 1.38
    """L2 penalty of the leaves."""
    subsample: Fixed[float] = 0.8
    """Share of the rows that each tree is grown on."""
    colsample_bytree: Fixed[float] = 0.265
    """Share of the features that each tree may read."""
    target: BoostedTarget = "absolute"
    """What is boosted: metres, or the difference to constant velocity (residual), to a motion model fitted in the fold
    (motion), or to the mean of the nets' predictions (stacked)."""
    objective: Literal["squared", "huber"] = "squared"
    """The loss of a tree's leaves; what ends boosting is always the mean absolute error."""
    motion: bool = False
    """Whether trees read the waypoints of a motion model fitted in the fold."""
    bounded: bool = False
    """Whether upstream predictions are held within the range of the training rows' differences to the fitted motion
    model, so that an absurd one is not believed."""
    probe: bool = False
    """Whether trees read what the probe of embed predicts, as they do the nets' predictions."""
    light_geometry: bool = False
    """Whether trees read where the largest traffic light of each colour is, and how large."""
    noise_scale: Fixed[float] = Field(default=0.5, ge=0)
    """Share of the published noise added to the stacked predictions of training rows."""
    causal: Causal = False
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.engine == "both" and self.bags < len(TURNS):
            raise ValueError(f"expected at least {len(TURNS)} bags with engine both, found {self.bags}")

    def engine_of(self, bag: int) -> Engine:
        """Return what grows the trees of a bag."""
        return TURNS[bag % len(TURNS)] if self.engine == "both" else self.engine
