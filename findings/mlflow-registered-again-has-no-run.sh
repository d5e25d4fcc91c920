#!/usr/bin/env bash
# MLflow 3.17.2: of two ways to hand a version to another name, one loses its run, and none its files.
#
# `copy_model_version` keeps the run, the tags and the description; `register_model("models:/a/1", "b")` makes a
# version without a run. Both name the first version as their source, yet both load after it was deleted, because the
# place of the files is recorded when a version is made.
#
# Seen:
#   copied: run kept, source models:/a/1
#   registered again: no run, source models:/a/1
#   after models:/a/1 was deleted, loaded: copied, again
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet mlflow==3.17.2
cat > model.py <<'PY'
import mlflow


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


mlflow.models.set_model(Echo())
PY
cat > find.py <<'PY'
import mlflow

client = mlflow.MlflowClient()
mlflow.set_experiment("e")
with mlflow.start_run() as run:
    info = mlflow.pyfunc.log_model(name="model", python_model="model.py", pip_requirements=[])
mlflow.register_model(f"models:/{info.model_id}", "a")
copied = client.copy_model_version("models:/a/1", "copied")
again = mlflow.register_model("models:/a/1", "again")
print("copied: run", "kept" if copied.run_id == run.info.run_id else copied.run_id, "source", copied.source)
print("registered again: run", again.run_id, "source", again.source)
assert (copied.run_id, copied.source) == (run.info.run_id, "models:/a/1")
assert (again.run_id, again.source) == (None, "models:/a/1")
client.delete_model_version("a", "1")
for name in ("copied", "again"):
    mlflow.pyfunc.load_model(f"models:/{name}/1")
print("after models:/a/1 was deleted, loaded: copied, again")
PY
MLFLOW_DISABLE_TELEMETRY=true env/bin/python find.py 2>/dev/null
