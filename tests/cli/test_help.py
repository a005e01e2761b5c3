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
            _, said = each.get_help_record(context)
            assert "[default: " in said or "required]" in said, f"{name} hides the default of {each.opts[0]}"


def test_the_options_of_all_commands_show_their_defaults() -> None:
    context = GROUP.make_context("emolake", [], resilient_parsing=True)
    shown = {each.opts[0]: each.get_help_record(context) for each in GROUP.params if each.expose_value}
    assert list(shown) == ["--debug"]
    assert all("[default: " in said for _, said in shown.values())


def script(shell: str) -> str:
    command = [sys.executable, "-c", "from emolake.cli.app import main; main()", "completion", shell]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["emolake", "ex"], ["export"]),
        (["emolake", "connect", "d"], ["duckdb", "dbeaver"]),
        (["emolake", "publish", "--in"], ["--include"]),
        (["emolake", "export", "--format", "p"], ["parquet"]),
    ],
)
def test_bash_completes(words: list[str], found: list[str]) -> None:
    bash = shutil.which("bash")
    emolake = Path(sys.executable).with_name("emolake")
    if bash is None or not emolake.is_file():
        pytest.skip("bash, or the installed command, is not there")
    ask = (
        f"{script('bash')}\nCOMP_WORDS=({' '.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        f"_emolake_completion {emolake}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run([bash, "-c", ask], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(found), done.stderr


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
