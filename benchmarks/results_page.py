"""Write docs/results.md: insert the figures in benchmarks/results into the text of benchmarks/results_page.md.

The text refers to a figure by its file and keys, `{accuracy[best][seconds]:.0f}`, and to a table by its name. A figure
that is in no file is written in the text with its date.

    python -m benchmarks.results_page
    python -m benchmarks.results_page --check
"""

import json
from pathlib import Path

import click

from benchmarks.results_tables import Figures, tables

TEXT = Path(__file__).resolve().with_name("results_page.md")
RESULTS = TEXT.with_name("results")
PAGE = TEXT.parent.parent / "docs" / "results.md"


def page(folder: Path = RESULTS) -> str:
    """Return the page that the files of a folder make."""
    files: dict[str, Figures] = {file.stem: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    return TEXT.read_text().format(
        **files,
        made={name: _made(name, found["made"]) for name, found in files.items()},
        tables=tables(files),
    )


def _made(name: str, made: Figures) -> str:
    """Say where figures come from: file, date, machine and commit."""
    processor = made["processor"].replace("(R)", "").removesuffix(" Processor")
    return (
        f"[{name}.json](../benchmarks/results/{name}.json): {made['date']}, {made['cores']} cores, {processor}, "
        f"commit {made['commit'][:7]}."
    )


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; end with an error if the page differs.")
def main(check: bool) -> None:
    """Write docs/results.md from benchmarks/results, or compare the two."""
    text = page()
    if not check:
        PAGE.write_text(text)
        click.echo(f"results_page: {PAGE} is written")
    elif not PAGE.exists() or PAGE.read_text() != text:
        found = "another text" if PAGE.exists() else "no file"
        raise click.ClickException(
            f"{PAGE}: expected what the files in {RESULTS} make, found {found}: run python -m benchmarks.results_page"
        )


if __name__ == "__main__":
    main()
