"""The README and docs/: every link has a target, and click accepts every command line."""

import ast
import codeop
import importlib
import re
import shlex
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from benchmarks import results_page, results_tables

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").glob("*.md"))]
ENTRY_POINTS = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
PLACEHOLDERS = ("-P name=value", "python -m steps.NAME")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

of_each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(text):
    """Return a page without its code blocks."""
    return BLOCK.sub("", text)


def code(text):
    """Return every line of the shell blocks of a page, continued ones joined, and every piece of code in its prose."""
    blocks = [body.replace("\\\n", " ") for language, body in BLOCK.findall(text) if language == "bash"]
    lines = [line for body in blocks for line in body.splitlines()] + re.findall(r"`([^`]+)`", prose(text))
    return [line for line in lines if line not in PLACEHOLDERS]


def anchors(text):
    """Return the anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page, text):
    """Return the relative links of a page that lead nowhere."""
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(text)))
    return [target for target in targets if "://" not in target and not leads_somewhere(page, target)]


def leads_somewhere(page, target):
    name, _, anchor = target.partition("#")
    file = page.parent / name if name else page
    return file.exists() and (not anchor or anchor in anchors(file.read_text()))


def wrong_words(line):
    """Return what is wrong in the command lines of this project and of MLflow that a line of code holds."""
    found = []
    for words in re.findall(r"python -m ((?:steps|benchmarks)\.[^&;|]*)", line):
        module, *options = shlex.split(words)
        found += wrong_options(command_of(module), options) if command_of(module) else [f"there is no {module}"]
    for words in re.findall(r"(?:^|uvx (?:--with \S+ )*|ENV/bin/)mlflow(?:@[\d.]+)? ([^&;|>]*)", line):
        found += wrong_in_mlflow(shlex.split(words))
    if re.match(r"-[eP] ", line):
        found += wrong_in_run(shlex.split(line))
    return found


def wrong_in_mlflow(words):
    """Return what is wrong in the words after `mlflow`."""
    from mlflow.cli import cli as command

    while words and isinstance(command, click.Group):
        below = command.get_command(click.Context(command), words[0])
        if below is None:
            return [f"mlflow has no command {words[0]}"]
        command, words = below, words[1:]
    found = wrong_options(command, words)
    return found + wrong_in_run(words[1:], entry="main") if command.name == "run" else found


def wrong_in_run(words, entry=None):
    """Return what is wrong in the entry point and the parameters of `mlflow run`; without one, any may take them."""
    values = [pair for pair in pairwise([*words, ""]) if pair[0] in ("-e", "-P")]
    entry = dict(values).get("-e", entry)
    if entry is not None and entry not in ENTRY_POINTS:
        return [f"there is no entry point {entry}"]
    given = [f"--{value}" for option, value in values if option == "-P"]
    complaints = [wrong_options(command_of(f"steps.{name}"), given) for name in ([entry] if entry else ENTRY_POINTS)]
    return min(complaints, key=len)


def wrong_options(command, words):
    """Return the options among some words that a command does not have, and the values that these do not take."""
    options = {spelt: option for option in command.params for spelt in (*option.opts, *option.secondary_opts)}
    found = []
    for word, following in pairwise([*words, ""]):
        name, _, value = word.partition("=")
        if not name.startswith("-") or name == "--help":
            continue
        if name not in options:
            found.append(f"{command.name} has no option {name}")
        elif not takes(options[name], value or following):
            found.append(f"{name} does not take {value or following}")
    return found


def takes(option, value):
    if getattr(option, "is_flag", False) or isinstance(option.type, click.Path):
        return True
    try:
        option.type.convert(value, option, None)
    except click.BadParameter:
        return False
    return True


def command_of(module):
    """Return the click command that `python -m` runs, one without options for a plain script, or None for no module."""
    for name in (f"{module}.__main__", module):
        try:
            command = getattr(importlib.import_module(name), "main", None)
        except ModuleNotFoundError as error:
            if error.name not in (name, module):
                raise
        else:
            return command if isinstance(command, click.Command) else click.Command(module)
    return None


def table_under(heading):
    """Return the first cell of every row of the table under a heading of the README."""
    section = README.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", section.split("\n\n| preset")[0], re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w./]+)`", row)]


def pinned_mlflow():
    return re.search(r"- mlflow==(\S+)", (PROJECT / "conda.yaml").read_text())[1]


def test_the_readme_is_one_page():
    assert len(README.read_bytes()) <= 14_000


@of_each_page
def test_every_relative_link_leads_somewhere(page):
    assert broken_links(page, page.read_text()) == []


def test_every_page_of_docs_is_linked_in_the_readme():
    linked = set(re.findall(r"\(docs/(\w+\.md)\)", README.read_text()))

    assert {page.name for page in PAGES[1:]} <= linked


@of_each_page
def test_every_command_line_is_one_that_click_takes(page):
    assert {line: wrong_words(line) for line in code(page.read_text()) if wrong_words(line)} == {}


def test_the_readme_has_the_commands_that_a_newcomer_needs():
    entries = re.findall(r"mlflow@\S+ run \.(?: --[\w-]+ \w+)*(?: -e (\w+))?", README.read_text())

    assert {"", "test", "simulate", "look", "evaluate"} <= set(entries)


@of_each_page
def test_python_in_a_page_compiles(page):
    bodies = [body for language, body in BLOCK.findall(page.read_text()) if language == "python"]

    assert [body for body in bodies if codeop.compile_command(body, page.name, "exec") is None] == []


@of_each_page
def test_a_page_names_the_pinned_mlflow(page):
    assert set(re.findall(r"(?<!/)mlflow@([\d.]+)", page.read_text())) <= {pinned_mlflow()}


def test_the_check_runs_the_test_command_of_the_readme():
    [command] = re.findall(r"uvx mlflow@\S+ run \. --env-manager uv -e test$", README.read_text(), re.MULTILINE)

    checked = (PROJECT / ".ci" / "run").read_text()
    assert re.search(rf"{re.escape(command)}( -P lanes=all)?$", checked, re.MULTILINE)


def test_the_readme_has_a_line_for_every_entry_point_and_no_other():
    assert sorted(table_under("Entry points")) == sorted(ENTRY_POINTS)


def test_the_readme_has_a_line_for_every_folder_and_no_other():
    folders = [f"{file.parent.name}/" for file in (PROJECT / "atma18").glob("*/__init__.py")]
    files = [file.name for file in (PROJECT / "atma18").glob("*.py") if file.name != "__init__.py"]

    assert sorted(table_under("Folders")) == sorted(folders + files)


def test_a_folder_imports_only_from_those_above_it():
    order = [name.rstrip("/").removesuffix(".py") for name in table_under("Folders")]
    downward = set()
    for path in (PROJECT / "atma18").rglob("*.py"):
        importer = path.relative_to(PROJECT / "atma18").parts[0].removesuffix(".py")
        for imported in imports_of(path) - {importer}:
            if order.index(imported) > order.index(importer):
                downward.add(f"{importer} imports {imported}")

    assert downward == set()


def imports_of(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "atma18":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("atma18."):
            found.add(node.module.split(".")[1])
    return found


def test_a_decision_has_a_date_and_at_most_five_lines():
    _, *sections = re.split(r"^## ", (PROJECT / "docs" / "decisions.md").read_text(), flags=re.MULTILINE)
    dates = [section.splitlines()[0] for section in sections]
    entries = [entry.strip() for section in sections for entry in section.strip().split("\n\n")[1:]]

    assert dates == sorted(dates)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", date) for date in dates)
    assert [entry for entry in entries if not entry.startswith("**") or len(entry.splitlines()) > 5] == []


def test_the_page_of_results_is_what_the_files_of_the_measurements_make():
    done = CliRunner().invoke(results_page.main, ["--check"])

    assert done.exit_code == 0, done.output


def test_another_page_of_results_is_refused_and_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(results_page, "PAGE", tmp_path / "results.md")
    results_page.PAGE.write_text(results_page.page().replace("0.223", "0.222"))

    done = CliRunner().invoke(results_page.main, ["--check"])
    assert done.exit_code == 1
    assert "found another text: run python -m benchmarks.results_page" in " ".join(done.output.split())

    assert CliRunner().invoke(results_page.main, []).exit_code == 0
    assert CliRunner().invoke(results_page.main, ["--check"]).exit_code == 0


def test_every_renamed_row_of_results_was_measured():
    page = results_page.PAGE.read_text()

    assert [new for new in results_tables.NEW_NAMES.values() if f"\n| {new} |" not in page] == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("uvx mlflow@3.17.2 run . -P see=1", "has no option --see"),
        ("uvx mlflow@3.17.2 run . -e tests", "there is no entry point tests"),
        ("uvx mlflow@3.17.2 run . -e simulate -P scenes=many", "--scenes does not take many"),
        ("uvx mlflow@3.17.2 run . -P preset=fast", "--preset does not take fast"),
        ("uvx mlflow@3.17.2 run . --environment uv", "has no option --environment"),
        ("uvx mlflow@3.17.2 serve", "mlflow has no command serve"),
        ("-e promote -P forced=true", "has no option --forced"),
        ("-P no_such=1", "has no option --no_such"),
        ("python -m steps.mains --seed=1", "there is no steps.mains"),
        ("python -m steps.main --seed=one", "--seed does not take one"),
        ("python -m benchmarks.features --quickly", "has no option --quickly"),
    ],
)
def test_a_wrong_command_line_is_found(line, complaint):
    [found] = wrong_words(line)

    assert complaint in found


@pytest.mark.parametrize("target", ["README.md#nowhere", "nowhere.md", "#nowhere"])
def test_a_broken_link_is_found(target):
    assert broken_links(README, f"# Here\n\nSee [that]({target}).\n") == [target]
