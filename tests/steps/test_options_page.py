"""docs/options.md agrees with the code."""

from steps import options_page


def test_the_page_is_what_is_made_of_the_code():
    assert options_page.PAGE.read_text() == options_page.page(), "python -m steps.options_page writes it again"


def test_the_page_says_what_presets_decide_and_what_values_are_allowed():
    rows = [line for line in options_page.page().splitlines() if line.startswith("| `batch_size`")]

    assert rows == [
        "| `batch_size` | whole number of at least 1 | 64 | 128 | 128 | 64 | "
        "Samples (nn1) or scenes (nn2) of a training step. |",
        "| `batch_size` | whole number of at least 1 | 16 | 128, then 16 | 128, then 16 | 16 | "
        "Samples (nn1) or scenes (nn2) of a training step. |",
    ]


def test_the_page_says_what_presets_decide_of_an_option_that_is_no_field_of_a_step():
    rows = [line for line in options_page.page().splitlines() if line.startswith(("| `inputs`", "| `folds`"))]

    assert [row.split(" | ")[2] for row in rows] == [
        "`3` (`quick`, `seed-small`, `best`); `5` (`seed`)",
        "`motion,nn1,nn2,gbdt` (`quick`); `nn1,nn2,gbdt` (`seed`, `seed-small`); `motion,gbdt` (`best`)",
    ]


def test_every_option_of_every_command_is_on_the_page():
    page = options_page.page()

    for module in (*options_page.STEPS.values(), *options_page.OTHERS.values()):
        for option in module.main.params:
            assert f"| `{option.name}` |" in page
