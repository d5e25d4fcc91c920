"""The file that MLflow executes when it loads a servable: rows of raw inputs in, waypoints out."""

import os
import sys
from pathlib import Path

import fastapi
import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from atma18.bundle import BUNDLE_SHA256, servable
from atma18.compute import Compute
from atma18.serving import guard
from atma18.serving.request_rows import answer, parse


class Waypoints(PythonModel):
    """Predicts the 18 numbers of each sample of a request."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that lies among the model's files, if it is the one that the model was logged with.

        Raises:
            ValueError: If it is another. Models from before its digest was kept take what there is.
        """
        logged = (context.model_config or {}).get(BUNDLE_SHA256)
        self.servable = servable.load(Path(context.artifacts["bundle"]), Compute.choose().device, logged)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, object] | None = None
    ) -> pd.DataFrame:
        """Answer one row per sample, in the order of the request: ID and 18 numbers in metres, vehicle frame at t.

        Raises:
            MlflowException: If the request is wrong; a server answers 400 then, with the message.
        """
        try:
            samples = parse(model_input, self.servable.sensors)
            predicted_m = self.servable.predict(samples)
        except ValueError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        return answer(model_input, samples, predicted_m)


# MLflow has read this when it was imported, long before this file: it has to be told again.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
mlflow.telemetry.set_telemetry_client()  # type: ignore[no-untyped-call]
if "mlflow.pyfunc.scoring_server.app" in sys.modules:  # it makes its server once it has loaded its model
    fastapi.FastAPI = guard.Guarded  # type: ignore[misc]
mlflow.models.set_model(Waypoints())
