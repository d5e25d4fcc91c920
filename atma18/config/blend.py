"""The configuration of blend."""

from dataclasses import KW_ONLY
from typing import Literal

from pydantic import Field

from atma18.config.checking import checked
from atma18.config.fields import Fixed
from atma18.config.groups import Groups, check_groups


@checked
class BlendConfig:
    """Convex weights for each group of scene sizes, or for each group and axis."""

    _: KW_ONLY
    groups: Groups = ((1, 2), (3, None))
    """Scene sizes that share weights, such as 1-2,3+."""
    method: Literal["shrunk", "exact", "nelder-mead", "equal"] = "shrunk"
    """How weights are fitted: to the least MAE, with a pull to safe weights where scenes are few (shrunk) or without
    (exact), by the published search (nelder-mead), or not at all (equal)."""
    per_axis: bool = False
    """Whether x, y and z have weights of their own."""
    max_iterations: Fixed[int] = Field(default=1000, ge=1)
    """Most iterations of Nelder–Mead."""

    def __post_init__(self) -> None:
        check_groups(self.groups)
