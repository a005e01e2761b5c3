"""The demo: a bucket of synthesised calls on a real S3 server, three nights, the daily table and the report."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count
from pathlib import Path

from rich.console import Console

from emolake.cli.config_file import commented_toml
from emolake.cli.running import run_nightly, show_bad_recordings
from emolake.demo.bucket import make_bucket
from emolake.demo.s3_server import serve_s3
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.query import write_answer
from emolake.messages import counted
from emolake.report.build import write_report
from emolake.settings import load_settings
from emolake.sql import statement

_LAST_DAY = date(2026, 11, 20)
_DAYS = 3  # of which the last one has the angry customers
_MARKER = "emolake.toml"
_ACCESS_KEY, _SECRET_KEY = "emolake-demo", "no-secret-at-all"


def run_demo(folder: Path, *, seed: int, nights: int = _DAYS) -> None:
    """Make the bucket, run the nightly job on each day against S3, print the daily table, and write the report.

    Raises:
        ConfigurationError: the folder holds something else than an earlier demo.
    """
    say = Console(stderr=True, highlight=False).print
    days = [_LAST_DAY - timedelta(days=back) for back in range(nights - 1, -1, -1)]
    _clear(folder)
    bucket = folder / "s3" / "calls"
    say(f"1. Making {counted(nights, 'day')} of calls with a speech synthesiser in [bold]{bucket}[/]")
    calls = make_bucket(bucket, days=days, seed=seed)
    say(f"   {len(calls)} objects, {sum(call.duration_s for call in calls) / 60:.0f} minutes")
    config = folder / _MARKER
    config.write_text(commented_toml(uri="s3://calls", timezone="Europe/Berlin"), "utf-8")
    with (
        _demo_environment(folder),
        serve_s3(folder / "s3", access_key=_ACCESS_KEY, secret_key=_SECRET_KEY) as url,
    ):
        os.environ["EMOLAKE_SOURCE__ENDPOINT_URL"] = url
        settings = load_settings(config)
        for number, day in enumerate(days, 2):
            say(f"\n{number}. The nightly run for {day}, from an S3 server at {url}")
            run_nightly(config, settings, day)
    step = count(2 + nights)
    with open_lake(settings.warehouse, read_only=True) as lake:
        say(f"\n{next(step)}. The daily table: SELECT … FROM daily_emotions")
        write_answer(lake, statement("demo_daily"), "table", sys.stdout, None)
        say(f"\n{next(step)}. What was quarantined, or broke half-way")
        show_bad_recordings(settings, None)
        report = folder / "report.html"
        write_report(lake, first=None, last=None, out=report)
    say(f"\n{next(step)}. The report is [bold]{report}[/]. Try next:")
    on_folder = f"EMOLAKE_SOURCE__URI={bucket.resolve()} "
    question = (
        "SELECT uri, start_s, end_s, emotion, confidence FROM segments JOIN recordings USING (recording_id) "
        "ORDER BY ALL LIMIT 20"
    )
    for environment, command in (
        ("", f'query "{question}" --config {config}'),
        ("", f"predict {bucket / days[-1].strftime('%Y/%m/%d')} --config {config}"),
        (on_folder, f"doctor --config {config}"),
        (on_folder, f"backfill {days[0]} {days[-1]} --plan --config {config}"),
        ("", "init --uri s3://your-bucket --timezone Europe/Berlin"),
    ):
        say(f"   {environment}{_program()} {command}", soft_wrap=True, markup=False)


def _program() -> str:
    """Return what the person types for emolake: its name where it is on the path, or where it lies."""
    return "emolake" if shutil.which("emolake") else os.path.relpath(sys.argv[0])


def _clear(folder: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).is_file():
        raise ConfigurationError(f"{folder} is not empty and holds no earlier demo; name another folder")
    for name in ("s3", "lake", "prefect"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _demo_environment(folder: Path) -> Iterator[None]:
    """Hide the person's own AWS and Prefect settings from the demo while it runs."""
    before = dict(os.environ)
    os.environ.update(
        AWS_ACCESS_KEY_ID=_ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=_SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        PREFECT_HOME=str((folder / "prefect").resolve()),
    )
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "PREFECT_API_URL",
    ):
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
