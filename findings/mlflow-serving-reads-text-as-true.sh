#!/usr/bin/env bash
# MLflow 3.17.2: where a model's signature declares a boolean, its scoring server takes every text for true.
#
# A client that builds its request from a CSV file sends "False", "0" or "no". The server casts the column to boolean
# before the model sees it, as numpy does with text: what is not empty is true. It answers 200. The same values in
# `model.predict(frame)` of a loaded model are refused. So a model cannot check such a column itself, unless its
# signature declares text.
#
# Seen:
#   predict: Failed to enforce schema of data ... Incompatible input types for column braking
#   server: ['False', '0', 'no'] -> 200 {"predictions": [true, true, true]}
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet mlflow==3.17.2 httpx==0.28.1
cat > find.py <<'PY'
import json

import mlflow
import pandas as pd
from fastapi.testclient import TestClient
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import init
from mlflow.types import ColSpec, Schema


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["braking"].tolist()


signature = ModelSignature(Schema([ColSpec("boolean", "braking")]), Schema([ColSpec("boolean")]))
mlflow.pyfunc.save_model("model", python_model=Echo(), signature=signature)
model = mlflow.pyfunc.load_model("model")
sent = ["False", "0", "no"]
try:
    model.predict(pd.DataFrame({"braking": sent}))
    refused = False
except mlflow.MlflowException as error:
    refused = True
    print("predict:", " ".join(str(error).split())[:150])
body = {"dataframe_split": {"columns": ["braking"], "data": [[value] for value in sent]}}
answer = TestClient(init(model)).post("/invocations", content=json.dumps(body), headers={"Content-Type": "application/json"})
print("server:", sent, "->", answer.status_code, answer.text)
assert refused
assert answer.status_code == 200
assert answer.json()["predictions"] == [True, True, True]
PY
env/bin/python find.py
