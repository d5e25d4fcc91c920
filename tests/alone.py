"""Processes that have no packages but those that some requirements bring, and that note what our code imports."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOTING = """
import builtins, json, sys

code, imported, real = sys.argv[1], set(), builtins.__import__

def noting(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and str((globals or {}).get("__file__")).startswith(code):
        imported.add(name.partition(".")[0])
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = noting
"""
TELLING = "\nprint(json.dumps(sorted(imported)))"


def brought_by(pins):
    """Return the distributions that requirements bring, as far as this machine has them."""
    found, waiting = {}, [Requirement(pin) for pin in pins]
    while waiting:
        wanted = waiting.pop()
        key = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if key in found:
            continue
        try:
            found[key] = distribution(wanted.name)
        except PackageNotFoundError:  # for another system
            continue
        needed = map(Requirement, found[key].requires or ())
        extras = wanted.extras or {""}
        waiting += [n for n in needed if not n.marker or any(n.marker.evaluate({"extra": extra}) for extra in extras)]
    return list(found.values())


def make_site(folder, pins):
    """Fill a folder with links to what requirements bring; a folder that packages share is linked as a whole."""
    folder.mkdir()
    for package in brought_by(pins):
        for name in {file.parts[0] for file in package.files} - {"..", "__pycache__"}:
            if not (folder / name).exists():
                (folder / name).symlink_to(package.locate_file(name))


def imported_alone(folder, pins, code, script, *words):
    """Run a script where there is what requirements bring and nothing else.

    Returns:
        The packages that the code in the folder `code` has imported meanwhile, as they are installed.
    """
    make_site(folder / "site", pins)
    environment = os.environ | {"PYTHONPATH": str(folder / "site")}
    program = [sys.executable, "-S", "-c", NOTING + script + TELLING, str(code), *map(str, words)]
    done = subprocess.run(program, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    names, of = json.loads(done.stdout.splitlines()[-1]), packages_distributions()
    return {canonicalize_name(name if name in of[name] else of[name][0]) for name in names if name in of}
