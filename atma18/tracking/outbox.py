"""Send metrics, tags and images of a run to the store; while the store fails, keep them on disk in order."""

import json
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, RunTag
from PIL import Image

from atma18.tracking import store

_log = logging.getLogger(__name__)

_UNSENT = "unsent.jsonl"
_OF_MODEL = "of_model.jsonl"


@dataclass
class Outbox:
    """The messages of one run. After a failure, the next try is at the end of the run, because a try takes minutes."""

    run_id: str
    folder: Path
    """The folder of the messages that were not sent."""
    away: bool = False

    def metrics(self, figures: Mapping[str, float], index: int = 0) -> None:
        """Send metrics; `index` is the epoch where there are several."""
        self._say(_as_message(figures, index))

    def metrics_of_model(self, figures: Mapping[str, float]) -> None:
        """Keep metrics of the model until `flush_model`: MLflow asks the store for each that is there before it."""
        self._keep(_OF_MODEL, _as_message(figures, 0))

    def tags(self, tags: Mapping[str, str]) -> None:
        """Send tags."""
        self._say({"tags": dict(tags)})

    def picture(self, name: str, png: bytes, index: int) -> None:
        """Send a picture to the UI's image grid."""
        file = self.folder / f"{uuid.uuid4().hex}.png"
        file.write_bytes(png)
        self._say({"picture": [name, file.name, index]})

    def flush(self) -> None:
        """Send all kept messages again; the store keeps a repeated message once.

        Raises:
            MlflowException: If the store still refuses them.
            OSError: If its files cannot be written.
        """
        for words in self._kept(_UNSENT):
            self._send(words)
        (self.folder / _UNSENT).unlink(missing_ok=True)
        self.away = False

    def flush_model(self, model_id: str) -> None:
        """Send the metrics of the model in one message, as metrics of the run and of the logged model.

        Raises:
            MlflowException: If the store refuses them; they stay kept.
            OSError: If their file cannot be read.
        """
        metrics = [
            Metric(name, value, time_ms, step, model_id=model_id)
            for words in self._kept(_OF_MODEL)
            for name, value, time_ms, step in words["metrics"]
        ]
        store.client().log_batch(self.run_id, metrics=metrics)

    def _say(self, words: Mapping[str, Any]) -> None:
        if not self.away:
            try:
                with store.undisturbed():
                    self._send(words)
                return
            except store.FAILURES as error:
                _log.warning(
                    f"the store does not take what run {self.run_id} says ({store.message_of(error)}): kept, sent at "
                    "the end"
                )
                self.away = True
        self._keep(_UNSENT, words)

    def _keep(self, name: str, words: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(words) + "\n")

    def _kept(self, name: str) -> list[dict[str, Any]]:
        file = self.folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _send(self, words: Mapping[str, Any]) -> None:
        client = store.client()
        match words:
            case {"metrics": metrics}:
                client.log_batch(self.run_id, metrics=[Metric(*metric) for metric in metrics])
            case {"tags": tags}:
                client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            case {"picture": [name, file, index]}:
                with Image.open(self.folder / file) as image:
                    client.log_image(self.run_id, image, key=name, step=index, synchronous=True)


def _as_message(figures: Mapping[str, float], index: int) -> dict[str, Any]:
    now_ms = int(time.time() * 1000)
    return {"metrics": [[name, float(value), now_ms, index] for name, value in figures.items()]}
