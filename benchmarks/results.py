"""The stored results of a benchmark: its figures, with their commit, machine and date."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import psutil

from atma18.storage.digests import PROJECT_FOLDER

json_option = click.option("--json", "file", type=click.Path(path_type=Path), help="Where the figures are written too.")


def keep(file: Path | None, figures: Mapping[str, Any]) -> None:
    """Print the most memory that this process held; write figures and where they come from, if there is a place."""
    click.echo(f"peak memory of this process: {peak_gb():.2f} GB")
    write(file, figures)


def write(file: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the figures that there are so far and where they come from, if there is a place."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**figures, "made": _made()}, indent=1) + "\n")


def peak_gb() -> float:
    """The most memory that this process held: `VmHWM`, for `ru_maxrss` keeps that of the parent process over exec."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e9


def _made() -> dict[str, Any]:
    words = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(words, cwd=PROJECT_FOLDER, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit or "none",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.platform(),
        "peak_memory_gb": peak_gb(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()
