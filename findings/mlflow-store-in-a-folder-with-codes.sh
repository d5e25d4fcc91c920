#!/usr/bin/env bash
# MLflow 3.17.2: in a folder whose name holds a percent code, files of runs land in another folder.
#
# The default store of a folder is named by a URI, in which the name is encoded, and the folder of its artifacts by a
# plain path, in which it is not. MLflow decodes both. In a folder named `a b` that is right, but an empty folder
# `a%20b` appears beside it. In a folder named `a%20b` the database is there, and the artifacts are in `a b`.
#
# Seen:
#   a b: database in a b, artifact in ['a b'], beside it ['a%20b']
#   a%20b: database in a%20b, artifact in ['a b'], beside it ['a b', 'a%2520b']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet mlflow==3.17.2
cat > find.py <<'PY'
import os
import sys
from pathlib import Path

import mlflow

place = Path.cwd()
mlflow.set_experiment("e")
with mlflow.start_run():
    mlflow.log_text("x", "x.txt")
here = sorted(p.relative_to(place.parent).parts[0] for p in place.parent.rglob("x.txt"))
others = sorted(p.name for p in place.parent.iterdir() if p != place)
print(f"{place.name}: database in {place.name if (place / 'mlflow.db').is_file() else 'another place'}, artifact in {here}, beside it {others}")
assert (place / "mlflow.db").is_file()
assert here == ["a b"]
if place.name == "a b":
    assert others == ["a%20b"]
PY
for name in 'a b' 'a%20b'; do
  mkdir -p "parent-${#name}/$name"
  (cd "parent-${#name}/$name" && MLFLOW_DISABLE_TELEMETRY=true "$folder/env/bin/python" "$folder/find.py" 2>/dev/null)
done
