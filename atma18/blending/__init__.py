"""Blending: weighted means of a few predictions, with convex weights that are fitted with a proof.

`weights` and `convex_weights` hold and solve one problem, `shrinkage` pulls to safe weights, `methods` lists the ways
to fit, `blend` applies weights by group of scene sizes and axis, `fitting` fits a blend and cross-fits it.
"""

from atma18.blending.blend import Blend, group_of
from atma18.blending.fitting import FEWEST_SAMPLES, Fitted, cross_fit, fit
from atma18.blending.weights import Weights

__all__ = ["FEWEST_SAMPLES", "Blend", "Fitted", "Weights", "cross_fit", "fit", "group_of"]
