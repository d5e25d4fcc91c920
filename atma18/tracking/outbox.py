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


@dataclass
class Outbox:
    """The messages of one run. After a failure, the next try is at the end of the run, because a try takes minutes."""

    run_id: str
    folder: Path
    """The folder of the messages that were not sent."""
    away: bool = False

    def metrics(self, figures: Mapping[str, float], index: int = 0) -> None:
        """Send metrics; `index` is the epoch where there are several."""
        now_ms = int(time.time() * 1000)
        self._say({"metrics": [[name, float(value), now_ms, index] for name, value in figures.items()]})

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
        unsent = self.folder / _UNSENT
        if unsent.exists():
            for line in unsent.read_text().splitlines():
                self._send(json.loads(line))
            unsent.unlink()
        self.away = False

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
        with (self.folder / _UNSENT).open("a") as file:
            file.write(json.dumps(words) + "\n")

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
