"""Write docs/options.md: every option, from the commands and the configurations.

Reads   the code
Writes  docs/options.md
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from atma18.config import PRESETS, varied
from atma18.config import page as tables
from steps import (
    blend,
    cache,
    check,
    compare,
    doctor,
    embed,
    evaluate,
    fetch,
    gbdt,
    ingest,
    lineage,
    look,
    motion,
    nn1,
    nn2,
    predict,
    promote,
    serve,
    simulate,
    upload,
)
from steps import main as main_step
from steps.options import Setting

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"
STEPS = {"embed": embed, "nn1": nn1, "nn2": nn2, "gbdt": gbdt, "blend": blend}
OTHERS = {
    "motion": motion,
    "compare": compare,
    "promote": promote,
    "predict": predict,
    "serve": serve,
    "evaluate": evaluate,
    "lineage": lineage,
    "doctor": doctor,
    "upload": upload,
    "simulate": simulate,
    "look": look,
    "ingest": ingest,
    "check": check,
    "fetch": fetch,
    "cache": cache,
}
SHARED = {field.name for field in fields(Setting)}
_HEAD = """\
# Options

Made by `python -m steps.options_page`, and compared with the code by a test.

An option is given to `mlflow run` as `-P`, its name, `=` and its value: `-P preset=best`. The command of a step takes
it with two dashes, as in `python -m steps.main --preset=best`, and lists all of them when asked for `--help`. An option
that is not given is decided by the preset; the tables of steps say what each preset decides, a value for each training
stage where the two differ. `main` takes all options of a step with the step's name in front: `-P nn1_num_epochs=3`."""


def page() -> str:
    """Return the content of docs/options.md."""
    of_main = main_step.main.params
    shared = [option for option in of_main if option.name in SHARED]
    alone = [option for option in _own(main_step.main) if str(option.name).split("_")[0] not in STEPS]
    sections = {"Every step": [_table(shared)], "`main` alone": [_table(alone)]}
    for name, module in STEPS.items():
        options, fields_of_step = _own(module.main), varied(type(getattr(PRESETS["quick"], name)))
        others = [option for option in options if option.name not in fields_of_step]
        table = tables.table(name, [str(option.name) for option in options if option.name in fields_of_step])
        sections[f"`{name}`"] = [table, *([_table(others)] if others else [])]
    sections |= {f"`{name}`": [_table(_own(module.main)) or "None of its own."] for name, module in OTHERS.items()}
    parts = [part for title, found in sections.items() for part in (f"## {title}", *found)]
    return "\n\n".join([_HEAD, *parts]) + "\n"


def _own(command: click.Command) -> list[click.Parameter]:
    """Return the options of a command without those that every step has."""
    names = {option.name for option in command.params}
    return [option for option in command.params if option.name not in (SHARED if names >= SHARED else ())]


def _table(options: Sequence[click.Parameter]) -> str:
    """Return click options as a Markdown table of name, values, default and description; empty without options."""
    rows = [
        [f"`{o.name}`", _values(o.type), _default(o), " ".join(o.help.split())]
        for o in options
        if isinstance(o, click.Option) and o.help
    ]
    return tables.markdown([["option", "values", "default", "what it is"], ["---"] * 4, *rows]) if rows else ""


def _values(kind: click.ParamType[Any]) -> str:
    if isinstance(kind, click.Choice):
        return ", ".join(f"`{choice}`" for choice in kind.choices)
    return {"boolean": "true, false", "integer": "whole number", "float": "number"}.get(kind.name.split()[0], kind.name)


def _default(option: click.Option) -> str:
    """Return an option's default, or what each preset decides instead; empty if neither is one value."""
    value = option.default
    if isinstance(value, str | int | float | Path):
        return f"`{str(value).lower() if isinstance(value, bool) else value}`"
    presets: dict[str, list[str]] = {}
    for name, preset in PRESETS.items():
        decided = getattr(preset, str(option.name), None)
        if decided is not None:
            text = ",".join(decided) if isinstance(decided, tuple) else str(decided)
            presets.setdefault(text, []).append(f"`{name}`")
    return "; ".join(f"`{text}` ({', '.join(names)})" for text, names in presets.items())


@click.command()
def main() -> None:
    """Write docs/options.md from the code."""
    PAGE.write_text(page())
    click.echo(f"options_page: {PAGE} is written")


if __name__ == "__main__":
    main()
