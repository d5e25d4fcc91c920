#!/usr/bin/env bash
# MLflow 3.17.2: a store that was moved keeps pointing to its old place, and makes it again for new runs.
#
# The place of an experiment's files is recorded as an absolute path when it is made. After the folder with the
# database and the files was renamed, earlier files are not found although they lie beside the database, and the files
# of a new run of the same experiment go into a new folder of the old name. No command of MLflow changes the record.
#
# Seen:
#   earlier run: files listed []
#   new run: its file lies in one
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet mlflow==3.17.2
cat > find.py <<'PY'
from pathlib import Path

import mlflow

place = Path.cwd()
experiment = mlflow.set_experiment("e")
earlier = mlflow.search_runs([experiment.experiment_id], output_format="list")
if earlier:
    files = [f.path for f in mlflow.MlflowClient().list_artifacts(earlier[0].info.run_id)]
    print("earlier run: files listed", files)
    assert files == []
    assert list(place.rglob("first.txt"))
with mlflow.start_run():
    mlflow.log_text("x", "second.txt" if earlier else "first.txt")
if earlier:
    [found] = place.parent.rglob("second.txt")
    print("new run: its file lies in", found.relative_to(place.parent).parts[0])
    assert found.is_relative_to(place.parent / "one")
PY
export MLFLOW_DISABLE_TELEMETRY=true
mkdir one
(cd one && ../env/bin/python ../find.py 2>/dev/null)
mv one two
(cd two && ../env/bin/python ../find.py 2>/dev/null)
