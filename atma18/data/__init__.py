"""A dataset folder becomes checked samples, frames, traffic lights and folds; predictions become a submission."""
