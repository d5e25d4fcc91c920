"""The pyfunc model that MLflow executes when it loads a servable: rows of raw inputs in, waypoints out."""

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
    """Predicts the waypoints of each sample of a request."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle among the model's files, and check it against the digest in the model's configuration.

        Raises:
            ValueError: If the digest differs. A model without a digest is loaded without this check.
        """
        logged = (context.model_config or {}).get(BUNDLE_SHA256)
        self.servable = servable.load(Path(context.artifacts["bundle"]), Compute.choose().device, logged)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, object] | None = None
    ) -> pd.DataFrame:
        """Predict one row per sample, in the order and with the index of the request.

        Returns:
            ID, 18 numbers in metres, vehicle frame at t, and the signals outside the range of the training drives.

        Raises:
            MlflowException: If the request is invalid; a server answers 400 with the message.
        """
        try:
            samples = parse(model_input, self.servable.sensors)
            predicted_m = self.servable.predict(samples)
        except ValueError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
        return answer(model_input, samples, predicted_m, self.servable.outside(samples))


# MLflow read these variables when it was imported, before this file, so they are applied again.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
mlflow.telemetry.set_telemetry_client()  # type: ignore[no-untyped-call]
if "mlflow.pyfunc.scoring_server.app" in sys.modules:  # it creates its server after it has loaded the model
    fastapi.FastAPI = guard.Guarded  # type: ignore[misc]
mlflow.models.set_model(Waypoints())
