"""The command line in this process: what a script would see of it, without a new interpreter for each call."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from emolake.cli.app import main


def emolake(
    *arguments: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and with more environment; return its exit status and what it wrote."""
    line = ["emolake", *map(str, arguments)]
    with (
        _caught() as (output, errors),
        _environment(environment),
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.object(sys, "argv", line),
    ):
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(line, status, _text(output), _text(errors))


@contextlib.contextmanager
def _caught() -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Take what is written to standard output and standard error, as files that are no terminal."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        yield output, errors


@contextlib.contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    # as a person's: the log level is the command's, and so is the Prefect server where none is named
    of_tests = ("PREFECT_LOGGING_LEVEL", "PREFECT_API_URL")
    inherited = {name: value for name, value in os.environ.items() if name not in of_tests}
    with mock.patch.dict(os.environ, inherited | more, clear=True):
        yield


def _text(file: io.TextIOWrapper) -> str:
    file.flush()
    buffer = file.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
