#!/usr/bin/env bash
# MLflow 3.17.2: a model whose signature has one column of the type "any" can't be asked with CSV.
#
# Such a column passes every value on as it is, which is the way around a server that casts (see
# mlflow-serving-reads-text-as-true.sh). JSON and Parquet work. For CSV the server asks for a pandas type of every
# column, and "any" has none: it answers 400 to every request, although the other columns have types.
#
# Seen:
#   application/json -> 200 {"predictions": [1.5]}
#   text/csv -> 400 "Failed to parse input as a Pandas DataFrame ... Failed to get pandas types as some of the inputs types are not DataType."
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet mlflow==3.17.2 httpx==0.28.1
cat > find.py <<'PY'
import json

import mlflow
from fastapi.testclient import TestClient
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import init
from mlflow.types import ColSpec, Schema
from mlflow.types.schema import AnyType


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["speed"].tolist()


signature = ModelSignature(Schema([ColSpec(AnyType(), "braking"), ColSpec("double", "speed")]), Schema([ColSpec("double")]))
mlflow.pyfunc.save_model("model", python_model=Echo(), signature=signature)
client = TestClient(init(mlflow.pyfunc.load_model("model")))
bodies = {
    "application/json": json.dumps({"dataframe_split": {"columns": ["braking", "speed"], "data": [[True, 1.5]]}}),
    "text/csv": "braking,speed\nTrue,1.5\n",
}
answers = {kind: client.post("/invocations", content=body, headers={"Content-Type": kind}) for kind, body in bodies.items()}
for kind, answer in answers.items():
    print(kind, "->", answer.status_code, answer.text[:160])
assert [answer.status_code for answer in answers.values()] == [200, 400]
assert "Failed to get pandas types" in answers["text/csv"].text
PY
MLFLOW_DISABLE_TELEMETRY=true env/bin/python find.py 2>/dev/null
