"""Help and completion: every option says its default, and Tab knows every command."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from emolake.cli.app import app

GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_option_shows_its_default_or_that_it_is_required(name: str) -> None:
    command = COMMANDS[name]
    context = command.make_context(name, [], resilient_parsing=True)
    for each in command.params:
        if each.param_type_name == "option":
            _, said = each.get_help_record(context) or ("", "")
            assert "[default: " in said or "required]" in said, f"{name} hides the default of {each.opts[0]}"


def test_the_options_of_all_commands_show_their_defaults() -> None:
    context = GROUP.make_context("emolake", [], resilient_parsing=True)
    shown = {each.opts[0]: each.get_help_record(context) for each in GROUP.params if each.expose_value}
    assert list(shown) == ["--debug"]
    assert all("[default: " in repr(said) for said in shown.values())


def script(shell: str) -> str:
    command = [sys.executable, "-c", "from emolake.cli.app import main; main()", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_bash_completes_commands_options_and_values() -> None:
    bash, emolake = shutil.which("bash"), Path(sys.executable).with_name("emolake")
    if bash is None or not emolake.is_file():
        pytest.skip("bash, or the installed command, is not there")
    expected = {
        ("emolake", "ex"): ["export"],
        ("emolake", "connect", "d"): ["duckdb", "dbeaver"],
        ("emolake", "publish", "--in"): ["--include"],
        ("emolake", "export", "--format", "p"): ["parquet"],
    }
    asked = [script("bash")]
    for words in expected:
        asked += [f"COMP_WORDS=({' '.join(words)})", f"COMP_CWORD={len(words) - 1}"]
        asked += [f"_emolake_completion {emolake}", 'echo "${COMPREPLY[@]}"']
    done = subprocess.run([bash, "-c", "\n".join(asked)], capture_output=True, text=True, check=True)
    found = [sorted(line.split()) for line in done.stdout.splitlines()]
    assert found == [sorted(words) for words in expected.values()], done.stderr


@pytest.mark.parametrize(
    ("shell", "said"), [("zsh", "#compdef emolake"), ("fish", "complete --command emolake")]
)
def test_the_other_shells_get_their_scripts(
    shell: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from emolake.cli.start_commands import Shell, completion

    completion(Shell(shell))
    shown = capsys.readouterr().out
    assert shown.lstrip().startswith(said)
    assert "_EMOLAKE_COMPLETE" in shown
