"""The process that has a run open, and whether it has ended."""

import platform
from dataclasses import dataclass
from typing import Self

import psutil
from mlflow.entities import Run

from atma18.tracking.identity import PREFIX

PROCESS_TAG = f"{PREFIX}process"


@dataclass(frozen=True)
class Process:
    """The process that has a run open."""

    host: str
    pid: int
    started_s: float
    """Seconds since 1970. It tells two processes with the same ID apart."""

    @classmethod
    def this(cls) -> Self:
        """Return this process."""
        own = psutil.Process()
        return cls(platform.node(), own.pid, round(own.create_time(), 2))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text that `str` returns."""
        host, pid, started_s = text.rsplit(" ", 2)
        return cls(host, int(pid), float(started_s))

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started_s:.2f}"

    @property
    def on_this_machine(self) -> bool:
        """Whether it is or was a process of this machine."""
        return self.host == platform.node()

    @property
    def gone(self) -> bool | None:
        """Whether the process has ended; None for a process of another machine."""
        if not self.on_this_machine:
            return None
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started_s) > 1)
        except psutil.NoSuchProcess:
            return True


def process_is_gone(run: Run) -> bool:
    """Return whether the process of an open run has ended, as far as this machine knows."""
    process = run.data.tags.get(PROCESS_TAG)
    return process is not None and Process.parse(process).gone is True
