"""What looks wrong about drives: a sentence of what was found, and one of what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Suspicion:
    """Something about drives that is possible in form and hardly possible in content."""

    name: str
    """A short name, such as `speed unit`."""
    found: str
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.found}: {self.advice}"
