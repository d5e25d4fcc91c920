"""A real MLflow store, and the words in which tests use it: steps are called in this process, runs are looked up."""

from pathlib import Path

from click.testing import CliRunner
from mlflow import MlflowClient

STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")
SHORT = ["--nn1_num_epochs=1", "--nn2_num_epochs=1", "--gbdt_rounds=5"]


def call(command, *words):
    """Run a step in this process."""
    return CliRunner().invoke(command.main, [str(word) for word in words])


def ran(result):
    """Return what a step printed; it must have succeeded."""
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def refused(result):
    """Return what a step printed; it must have ended with a message, not with a crash."""
    assert result.exit_code != 0, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result.output


def all_runs():
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    return client.search_runs(experiments, order_by=["attributes.start_time ASC"])


def newest(step):
    """The newest finished run of a step."""
    query = f"tags.`atma18.step` = '{step}' and attributes.status = 'FINISHED'"
    experiments = [e.experiment_id for e in MlflowClient().search_experiments()]
    return MlflowClient().search_runs(experiments, query, order_by=["attributes.start_time DESC"])[0]


def first(step):
    """The run of a step that the first `main` made."""
    return next(run for run in all_runs() if run.data.tags.get("atma18.step") == step)


def artifacts(run):
    return Path(run.info.artifact_uri)


def versions(step):
    return MlflowClient().search_model_versions(f"name = 'atma18-{step}'")


def version_of(step, run):
    """The number of the version that a run made."""
    return next(v.version for v in versions(step) if v.run_id == run.info.run_id)
