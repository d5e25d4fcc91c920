"""The file that MLflow executes when it loads a servable: rows of raw inputs in, waypoints out."""

from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from atma18 import servable
from atma18.compute import Compute
from atma18.requests import answer, parse


class Waypoints(PythonModel):
    """Predicts the 18 numbers of each sample of a request."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle that lies among the model's files."""
        self.servable = servable.load(Path(context.artifacts["bundle"]), Compute.choose().device)

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, object] | None = None
    ) -> pd.DataFrame:
        """Answer one row per sample, in the order of the request: ID and 18 numbers in metres, vehicle frame at t."""
        samples = parse(model_input, self.servable.sensors)
        return answer(model_input, samples, self.servable.predict(samples))


mlflow.models.set_model(Waypoints())
