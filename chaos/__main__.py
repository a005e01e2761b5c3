"""The command: faults for so many minutes, a line for each try, and the table in docs/chaos.md."""

import logging
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import typer

from emolake.pipeline.identity import package_versions

from chaos.bad_source import FAULTS, bad_source
from chaos.bad_warehouse import bad_warehouse
from chaos.cluster import cluster
from chaos.crowded_lake import crowded_lake
from chaos.killed import killed
from chaos.outcomes import Outcome, table
from chaos.servers import own_environment, prefect_server
from chaos.side_by_side import side_by_side


class Scenario(StrEnum):
    """What goes wrong."""

    killed = "killed"
    side_by_side = "side-by-side"
    bad_source = "bad-source"
    bad_warehouse = "bad-warehouse"
    crowded_lake = "crowded-lake"
    cluster = "cluster"


SCENARIOS: dict[Scenario, Callable[[int, int, Path], list[Outcome]]] = {
    Scenario.killed: killed,
    Scenario.side_by_side: side_by_side,
    Scenario.bad_source: bad_source,
    Scenario.bad_warehouse: bad_warehouse,
    Scenario.crowded_lake: crowded_lake,
    Scenario.cluster: partial(cluster, lanes=3),
}
# Tries of the long version: half an hour on an idle machine of two cores.
TRIES = {
    Scenario.killed: 50,
    Scenario.side_by_side: 8,
    Scenario.bad_source: 2 * len(FAULTS),
    Scenario.bad_warehouse: 16,
    Scenario.crowded_lake: 7,
    Scenario.cluster: 50,
}
_INTRODUCTION = """# Exactly once, whatever happens

Faults caused on purpose: real `emolake` processes, a real S3 server (`rclone serve s3`), real catalogs in SQLite
and PostgreSQL. After each try the lake has to equal that of a clean run over the same bucket, row for row and to a
millionth, without run ids and times (`recordings`, `analyses`, `segments`, `recording_dynamics`, `daily_emotions`), and
`emolake verify` has to find no breach. `make test` tries the first fault of each scenario; `make chaos` writes this
page, and `python -m chaos --scenario NAME --output docs/chaos.md` one section of it.
"""


def asked_tries(asked: list[str]) -> dict[Scenario, int]:
    """Return how often each asked scenario is tried; raises typer.BadParameter for what is none."""
    tries = {}
    for each in asked:
        name, _, number = each.partition("=")
        try:
            scenario = Scenario(name)
            tries[scenario] = int(number) if number else TRIES[scenario]
        except ValueError as error:
            raise typer.BadParameter(
                f"{each!r} is no scenario; expected {', '.join(Scenario)}, each with =TRIES or without"
            ) from error
    return tries


def main(
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=TRIES]",
            help=f"One of {', '.join(Scenario)}, and how often; may be given again. All of the long version without.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other calls, moments and faults.")] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the table; standard output when left out.")
    ] = None,
) -> None:
    """Bring faults about, and check that emolake keeps its promises; exit with 1 where one is broken."""
    asked = asked_tries(scenario) if scenario else TRIES
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("chaos").setLevel(logging.INFO)
    outcomes: list[Outcome] = []
    sections = sections_of(output.read_text("utf-8")) if scenario and output and output.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="emolake-chaos-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with own_environment(home), nullcontext() if set(asked) == {Scenario.cluster} else prefect_server():
            for name, tries in asked.items():
                begun = time.monotonic()
                came = SCENARIOS[name](seed, tries, home / name)
                outcomes += came
                sections[name] = section(came, f"{name}={tries}", seed, time.monotonic() - begun)
                if output is not None:  # each time: half an hour is not to be lost with its last minute
                    output.write_text(page(sections), "utf-8")
    if output is None:
        sys.stdout.write(page(sections))
    raise typer.Exit(tell_broken(outcomes, sys.stderr))


def tell_broken(outcomes: list[Outcome], output: IO[str]) -> int:
    """Write what differed where a promise was broken; return the exit status."""
    broken = [outcome for outcome in outcomes if outcome.broken is not None]
    for outcome in broken:
        print(f"chaos: {outcome.promise} is broken, {outcome.fault}: {outcome.broken}", file=output)
    return 1 if broken else 0


def page(sections: Mapping[str, str]) -> str:
    """Return docs/chaos.md, with the sections in the order of the scenarios."""
    parts = [f"## {name}\n\n{sections[name]}" for name in Scenario if name in sections]
    return "\n\n".join([_INTRODUCTION.strip(), *parts]) + "\n"


def section(outcomes: list[Outcome], asked: str, seed: int, seconds: float) -> str:
    """Return the table of a scenario, and what it was made with."""
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    made = (
        f"Made on {datetime.now(UTC):%Y-%m-%d} by `python -m chaos --scenario {asked}`, seed {seed}, in "
        f"{seconds / 60:.0f} min, on {os.cpu_count()} cores ({platform.machine()}, {platform.system()} "
        f"{platform.release()}), Python {platform.python_version()}; {versions}."
    )
    return f"{table(outcomes)}\n\n{made}"


def sections_of(text: str) -> dict[str, str]:
    """Return the sections of a page by the names of their scenarios."""
    _, *parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return {name: own.strip() for name, own in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command(epilog="Example: `python -m chaos --scenario killed=5 --scenario bad-source --seed 7`")(main)
    app(prog_name="python -m chaos")
