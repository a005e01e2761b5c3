"""What the documentation shows of commands is what they print, and the pages that are made are up to date."""

import re
import shutil
from pathlib import Path

import pytest

from tools.docs_output import SHOWN_FOLDER, is_alike, pages, refreshed, unmarked_blocks
from tools.docs_reference import PAGES
from tools.docs_times import steps, with_times

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def run_block(body: str, options: str = "") -> str:
    page, _ = refreshed(f"<!-- run{options and f': {options}'} -->\n```console\n{body}```\n")
    return page.partition("```console\n")[2].removesuffix("```\n")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("$ echo new\nold\n", "$ echo new\nnew\n"),
        ("$ echo a >&2\n$ echo b\n", "$ echo a >&2\na\n$ echo b\nb\n"),
        ("$ echo a \\\n  b\n", "$ echo a \\\n  b\na b\n"),
        ("$ pwd\n", f"$ pwd\n{SHOWN_FOLDER}\n"),
        ("$ true\nleft over\n", "$ true\n"),
        (
            "$ echo 2026-11-27T21:06:02.851+00:00 info at work; echo a\n",
            "$ echo 2026-11-27T21:06:02.851+00:00 info at work; echo a\na\n",
        ),
        ("$ cat\n", "$ cat\n"),  # nobody types anything
        ("$ printf '%s' \"$AWS_SECRET_ACCESS_KEY\"\n", "$ printf '%s' \"$AWS_SECRET_ACCESS_KEY\"\n"),
    ],
)
def test_what_is_pasted_is_what_commands_print(
    body: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the person")
    assert run_block(body) == shown
    assert run_block(shown) == shown


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ("head=2", "1 2 …"),
        ("tail=1", "… 9"),
        ("head=1 tail=2", "1 … 8 9"),
        ("head=8", "1 2 3 4 5 6 7 8 9"),  # one line is no shorter as a mark
        ("match=^[36]", "… 3 … 6 …"),
    ],
)
def test_long_output_is_shortened(options: str, lines: str) -> None:
    assert run_block("$ seq 9\n", options).split()[3:] == lines.split()


def test_a_command_that_fails_is_meant_to() -> None:
    assert run_block("$ echo a; false\n", "fails") == "$ echo a; false\na\n[exit 1]\n"
    with pytest.raises(SystemExit, match="exit 1, and its block does not say"):
        run_block("$ echo a; false\n")


def test_a_page_runs_in_one_folder_with_its_files_and_hidden_commands() -> None:
    page = (
        "<!-- hidden: echo a > a -->\n<!-- file: b -->\n```toml\nb = 1\n```\n"
        "<!-- run -->\n```console\n$ cat a b\n```\n<!-- not run: no reason -->\n```console\n$ rm a\n```\n"
    )
    after, commands = refreshed(page)
    assert after == page.replace("$ cat a b\n", "$ cat a b\na\nb = 1\n")
    assert [command.text for command in commands] == ["cat a b"]
    with pytest.raises(SystemExit, match="exit 3"):
        refreshed("<!-- hidden: exit 3 -->\n")


ROW = " 2026-11-20 │ anger │ 0.48 │ nightly-20261127T192120-5f239a\n"


@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [
        (ROW, ROW, True),
        (ROW, ROW.replace("20261127T192120-5f239a", "20270101T000000-000000"), True),
        (ROW, ROW.replace("0.48", "0.47"), True),  # another processor rounds otherwise
        (ROW, ROW.replace("0.48", "0.58"), False),
        (ROW, ROW.replace("anger", "fear"), False),
        (ROW, ROW.replace("2026-11-20", "2026-11-21"), False),
        (ROW, ROW + ROW, False),
        ("a │ b", "a   │   b", True),  # columns of another width
        ("14/14 at 168x 0:00:03", "14/14 at 90x  0:00:09", True),
        ("14/14 at 168x 0:00:03", "13/14 at 168x 0:00:03", False),
        ("62 GB free", "9.5 GB free", True),
        ("18 segments", "19 segments", False),
    ],
)
def test_only_what_always_varies_is_alike(before: str, after: str, alike: bool) -> None:
    assert is_alike(before, after) is alike


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_command_is_run_or_says_why_not(page: Path) -> None:
    assert unmarked_blocks(page.read_text("utf-8")) == []


def test_an_unmarked_block_is_found() -> None:
    page = "x\n```console\n$ a\n```\n<!-- run -->\n```console\n$ b\n```\n\n```console\n$ c\n```\n"
    assert unmarked_blocks(page) == [2, 10]


@pytest.mark.parametrize("page", PAGES)
def test_pages_that_are_made_are_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text("utf-8") == PAGES[page](), "run: python -m tools.docs_reference"


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands of the pages are bash's")
def test_the_messages_of_troubleshooting_are_what_the_program_prints() -> None:
    """The other pages take longer: `make docs-output` runs them."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    after, commands = refreshed(page)
    assert len(commands) > 5
    assert after == page, "run: python -m tools.docs_output docs/troubleshooting.md"


def test_the_tutorial_takes_less_than_ten_minutes_of_reading_and_typing() -> None:
    page = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    machine = [0.0] * page.count("\n$ ")
    found = steps(page, machine)
    assert [step.title[:2] for step in found] == [f"{number}." for number in range(1, len(found) + 1)]
    assert sum(step.reading + step.typing for step in found) < 600
    untimed = re.compile(r"\d+ s \|$", re.MULTILINE)
    assert untimed.sub("", page) == untimed.sub("", with_times(page, machine)), (
        "run: python -m tools.docs_output docs/tutorial.md"
    )


def test_a_step_counts_words_lines_and_keys() -> None:
    page = (
        "# x\n\nnot counted\n\n## 1. A\n\n" + "word " * 200 + "\n<!-- run -->\n```console\n$ " + "k" * 120
        + "\none\ntwo\n```\n\n## 2. B\n<!-- not run: why -->\n```console\n$ 12\n```\n## Rest\n\nnot counted\n"
    )  # fmt: skip
    assert steps(page, [7.0]) == [("1. A", 62.0, 60.0, 7.0), ("2. B", 0.0, 1.0, 0.0)]
