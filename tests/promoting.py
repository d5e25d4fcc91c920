"""Helpers for tests of promotion: name versions, and read aliases and verdicts."""

from mlflow import MlflowClient

from tests.store import all_runs

BLEND = "atma18-blend"


def version(number):
    return f"--candidate=models:/{BLEND}/{number}"


def holder(alias):
    aliases = MlflowClient().get_registered_model(BLEND).aliases
    return int(aliases[alias]) if alias in aliases else None


def records():
    """The runs that keep a verdict, the oldest first."""
    return [run for run in all_runs() if "atma18.verdict" in run.data.tags]


def verdicts():
    tags = [run.data.tags for run in records()]
    return [(t["atma18.verdict"], t["atma18.from"], t["atma18.to"]) for t in tags]
