"""List the cache and what interrupted commands left behind; remove entries that are no longer needed.

Reads   the cache, the folder of temporary files
Writes  nothing; with clean=true it removes the marked entries
"""

import time
from collections.abc import Mapping
from pathlib import Path

import click

from atma18.cache import CHECKPOINTS, Cache, Entry, limit_bytes, surplus, unused_since
from steps import typed
from steps.commands import command
from steps.messages import clear_messages

DAY_S = 24 * 3600
CHECKPOINT_DAYS = 14


@command
@typed.flag("clean", False, "Remove what is marked.")
@click.option("--unused_days", type=click.IntRange(min=0), help="Mark what nobody has asked for in so many days.")
@click.option("--limit_gb", help="Mark the least recently used until the rest fits.")
def main(clean: bool, unused_days: int | None, limit_gb: str | None) -> None:
    """List the cache and what interrupted commands left behind, marking what can go.

    Always marked: what killed processes left half made, checkpoints that nobody has gone on from in two weeks, and the
    empty temporary folders that `mlflow run` leaves. Never marked: folds, and what a process holds.
    """
    from atma18 import tracking

    with clear_messages():
        cache = Cache.open()
        limit = cache.limit_bytes if limit_gb is None else limit_bytes(limit_gb, "limit_gb")
    entries, now_s = cache.entries(), time.time()
    marked = {
        entry: f"a checkpoint of over {CHECKPOINT_DAYS} days"
        for entry in unused_since(entries, now_s - CHECKPOINT_DAYS * DAY_S)
        if entry.kind == CHECKPOINTS
    }
    if unused_days is not None:
        marked |= dict.fromkeys(unused_since(entries, now_s - unused_days * DAY_S), f"unused for {unused_days} days")
    if limit is not None:
        rest = [entry for entry in entries if entry not in marked]
        marked |= dict.fromkeys(surplus(rest, limit), f"beyond {limit / 1e9:g} GB")
    leftovers, folders = cache.leftovers(), tracking.empty_run_folders(older_than_s=now_s - DAY_S)

    click.echo(_listing(cache, entries, marked))
    click.echo(f"half made by processes that are gone: {len(leftovers)}")
    click.echo(f"empty temporary folders of mlflow run, a day old or more: {len(folders)}")
    if clean:
        _remove(cache, marked, leftovers, folders)
    elif marked or leftovers or folders:
        click.echo("clean=true removes these, and the marked entries")


def _listing(cache: Cache, entries: list[Entry], marked: Mapping[Entry, str]) -> str:
    """Return a heading and one line per entry, least recently used first."""
    import pandas as pd

    limit = "no limit" if cache.limit_bytes is None else f"limit {cache.limit_bytes / 1e9:g} GB"
    total_mb = sum(entry.size_bytes for entry in entries) / 1e6
    headline = f"{cache.root}: {len(entries)} entries, {total_mb:.1f} MB, {limit}"
    if not entries:
        return headline
    rows = [
        {
            "kind": entry.kind,
            "key": entry.key[:16],
            "MB": f"{entry.size_bytes / 1e6:.1f}",
            "last used": time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used_s)),
            "": f"in use by process {entry.holder}" if entry.holder else marked.get(entry, ""),
        }
        for entry in entries
    ]
    return f"{headline}\n{pd.DataFrame(rows).to_string(index=False)}"


def _remove(cache: Cache, marked: Mapping[Entry, str], leftovers: list[Path], folders: list[Path]) -> None:
    gone = [entry for entry in marked if cache.remove(entry)]
    for leftover in leftovers:
        cache.discard(leftover)
    for folder in folders:
        folder.rmdir()
    freed_mb = sum(entry.size_bytes for entry in gone) / 1e6
    click.echo(
        f"removed {len(gone)} entries ({freed_mb:.1f} MB), {len(leftovers)} half-made ones and {len(folders)} folders"
    )


if __name__ == "__main__":
    main()
