"""Camera, kinematics, baselines and the mirror: where things are and where a car goes."""
