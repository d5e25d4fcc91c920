"""Convex weights of predictions per scene-size group, with their proof, scored by cross-fitting."""

from atma18.blending.blend import FEWEST_SAMPLES, Blend, Fitted, cross_fit, fit, group_of

__all__ = ["FEWEST_SAMPLES", "Blend", "Fitted", "cross_fit", "fit", "group_of"]
