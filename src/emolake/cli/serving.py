"""`emolake serve`: the schedules of one machine in one process, with a server of Prefect where none is there."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emolake.cli.draining import keep
from emolake.environment import has_prefect_server, use_prefect_server
from emolake.errors import ConfigurationError, EmolakeError
from emolake.output.notices import complain
from emolake.pipeline.interrupts import stop_signals_blocked
from emolake.ports import LOCALHOST, check_free
from emolake.settings import Settings

_START_S = 120.0
_END_S = 20.0
NAME = "serve"
"""Name of the deployments: those of deployments/prefect.yaml stay what they are."""


def serve_schedules(
    config: Path, settings: Settings, *, nightly: str, maintain: str, alert: str, port: int
) -> None:
    """Begin the runs at their hours, and those that somebody asks for in Prefect's UI, until a signal ends it.

    Args:
        config: the configuration file.
        settings: what it says: schedules are in source.timezone.
        nightly: cron of the nightly.
        maintain: cron of `maintain`.
        alert: cron of `alert`.
        port: of the server, where none is configured.
    """
    with _server(port):
        crons = {"nightly": nightly, "maintain-lake": maintain, "alert": alert}
        _check(crons, settings.source.timezone)
        served = {"config": str(config.resolve()), "timezone": settings.source.timezone, "crons": crons}
        # In a process of its own, below this one, which lets runs drain before that ends.
        program = "from emolake.cli.serving import main; main()"
        keep([sys.executable, "-P", "-c", program, json.dumps(served)], grace_s=settings.run.grace_s)


def _check(crons: Mapping[str, str], timezone: str) -> None:
    from prefect.schedules import Cron

    for cron in crons.values():
        try:
            Cron(cron, timezone=timezone)
        except ValueError as error:
            raise ConfigurationError(
                f"{cron!r} is no cron; expected five fields such as 15 3 * * *"
            ) from error


def main() -> None:
    """Serve what `serve_schedules` gives as the first argument, until a signal ends it."""
    from prefect import serve
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.schedules import Cron

    from emolake.flows.alert import alert
    from emolake.flows.backfill import backfill
    from emolake.flows.maintain_lake import maintain_lake
    from emolake.flows.nightly import nightly
    from emolake.flows.publish import publish
    from emolake.flows.retry import retry

    served = json.loads(sys.argv[1])
    parameters = {"config": served["config"]}
    # As deployments/prefect.yaml has it: each late night runs, but of late maintenances and alerts one.
    scheduled: dict[Any, ConcurrencyLimitStrategy] = {
        nightly: ConcurrencyLimitStrategy.ENQUEUE,
        maintain_lake: ConcurrencyLimitStrategy.CANCEL_NEW,
        alert: ConcurrencyLimitStrategy.CANCEL_NEW,
    }
    deployments: list[Any] = [
        flow.to_deployment(
            NAME,
            schedule=Cron(served["crons"][flow.name], timezone=served["timezone"]),
            parameters=parameters,
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=collision),
        )
        for flow, collision in scheduled.items()
    ]
    deployments += [flow.to_deployment(NAME, parameters=parameters) for flow in (backfill, retry, publish)]
    complain(f"serving {', '.join(each.flow_name for each in deployments)}; Ctrl-C or SIGTERM ends it")
    serve(*deployments, pause_on_shutdown=False, print_starting_message=False)


@contextmanager
def _server(port: int) -> Iterator[None]:
    """Start a server of Prefect, unless one is configured; it ends with the block."""
    if has_prefect_server():
        yield
        return
    # What answers there already would be taken for the server that is started, which ends at once.
    check_free(
        port, remedy="choose another with --port, or set PREFECT_API_URL if it is your server of Prefect"
    )
    url = f"http://{LOCALHOST}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", LOCALHOST, "--port", str(port)]
    with stop_signals_blocked():  # it is ended last, by us
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(process, url, port)
        use_prefect_server(url)
        complain(f"Prefect's server and its pages are at http://{LOCALHOST}:{port}")
        yield
    finally:
        process.kill()
        process.wait(_END_S)


def _wait(process: subprocess.Popen[bytes], url: str, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise EmolakeError(
        f"Prefect's server did not start on port {port}; choose another --port, or start one and set PREFECT_API_URL"
    )
