"""Predict where a car will be in the next three seconds from three frames and its CAN signals."""
