"""Geometry and motion of the car.

`camera` projects points, `kinematics` extrapolates the car's motion, `baseline` holds what predictions are the
difference to, and `mirror` exchanges left and right.
"""
