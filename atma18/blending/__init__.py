"""Blending: `convex_weights` fits weights with a proven bound, `blend` does so per scene-size group and cross-fits."""

from atma18.blending.blend import FEWEST_SAMPLES, Blend, Fitted, cross_fit, fit, group_of

__all__ = ["FEWEST_SAMPLES", "Blend", "Fitted", "cross_fit", "fit", "group_of"]
