"""Following: which version answers, and how it is replaced. `tracking` finds and brings versions."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from atma18.schema import one_line
from atma18.serving.answering import Answering

_log = logging.getLogger(__name__)

_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class Versions:
    """The versions of a model at one moment."""

    wanted: int
    """The version that the alias names."""
    serving: int
    refused: frozenset[int] = frozenset()
    """Those that could not be verified, or failed their rehearsal."""


def to_load(versions: Versions) -> int | None:
    """Return the version to load beside the serving one, or None; the same state gives the same answer."""
    known = (versions.serving, *versions.refused)
    return None if versions.wanted in known else versions.wanted


@dataclass
class Follower:
    """Holds the version that answers, and swaps it for the one that an alias names.

    The next version is brought while the current one answers. A request reads `current` once, and keeps what it read.
    """

    current: Answering
    wanted: Callable[[], int]
    """Asks the registry for the number that the alias names."""
    bring: Callable[[int], Answering]
    """Fetches, verifies and rehearses a version; a ValueError refuses it for good."""
    every_s: float = 3.0
    swapped: Callable[[Answering], None] = lambda answering: None
    """Called after each swap."""
    refused: dict[int, str] = field(default_factory=dict)
    """Why a version is refused, by its number."""
    trouble: str | None = None
    """Why the last look failed; None if it did not."""
    named: int | None = None
    """The version that the alias named at the last look."""
    looked_s: float = field(default_factory=time.monotonic)
    """When the registry last answered."""
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def stale(self) -> bool:
        """Whether another version than the serving one may be wanted."""
        return self.trouble is not None or self.named in self.refused

    def look(self) -> None:
        """Ask the registry once, and replace the version if it names another."""
        try:
            self.named = self.wanted()
            number = to_load(Versions(self.named, self.current.version, frozenset(self.refused)))
            self.looked_s = time.monotonic()
            if number is not None:
                _log.info(f"{self.current.model}: version {number} is wanted; {self.current.version} answers till then")
                self._replace(number)
            self.trouble = None
        except Exception as error:  # noqa: BLE001 - the one border: whatever a store raises, the current version goes on
            self._say_trouble(_message_of(error))

    def _replace(self, number: int) -> None:
        try:
            self.current = self.bring(number)
        except ValueError as error:
            self.refused[number] = _message_of(error)
            _log.error(
                f"{self.current.model}: version {number} is refused, {self.current.version} goes on: "
                f"{self.refused[number]}"
            )
        else:
            _log.info(f"{self.current.model}: version {number} answers now")
            self.swapped(self.current)

    def _say_trouble(self, message: str) -> None:
        if message != self.trouble:
            _log.error(
                f"{self.current.model}: version {self.current.version} goes on, for the registry says: {message}"
            )
        self.trouble = message

    def run(self) -> None:
        """Look again and again until `end`."""
        while not self._ended.wait(self.every_s):
            self.look()

    def end(self) -> None:
        """Let `run` return after its present look."""
        self._ended.set()


def _message_of(error: Exception) -> str:
    return one_line(" ".join(str(error).split()), _LONGEST_MESSAGE)
