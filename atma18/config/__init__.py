"""What may vary: a configuration for each step, and the presets."""
