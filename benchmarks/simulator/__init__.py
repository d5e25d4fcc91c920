"""How the simulated drives compare with the published statistics of the competition's data."""
