"""What is checked when the deployments of deployments/prefect.yaml are made, as their build step."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from emolake.messages import printable, redacted


def check_variables(config: str | None = None, timezone: str | None = None) -> dict[str, str]:
    """Refuse to deploy what would run without a configuration, or at the hours of another zone.

    Args:
        config: value of EMOLAKE_CONFIG; a path on the worker's machine, so that the file is not looked for here.
        timezone: value of EMOLAKE_SOURCE__TIMEZONE.

    Raises:
        SystemExit: a variable is missing or wrong; of an error Prefect would show a traceback without its words.
    """
    problems = [*_problems_of_config(config), *_problems_of_timezone(timezone)]
    if problems:
        raise SystemExit(f"emolake: nothing was deployed: {'; '.join(problems)}")
    return {}


def _problems_of_config(value: str | None) -> Iterator[str]:
    if not value:
        yield "EMOLAKE_CONFIG is not set: export the absolute path of the configuration file on the worker's machine"
    elif not PurePosixPath(value).is_absolute():
        yield f"EMOLAKE_CONFIG is {_shown(value)}, relative to wherever the worker runs: give an absolute path"


def _problems_of_timezone(value: str | None) -> Iterator[str]:
    if not value:
        yield (
            "EMOLAKE_SOURCE__TIMEZONE is not set, and the schedule would be in UTC: export the zone of "
            "source.timezone, such as Europe/Berlin"
        )
        return
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield f"EMOLAKE_SOURCE__TIMEZONE is {_shown(value)}, which is no zone: give a name such as Europe/Berlin"


def _shown(value: str) -> str:
    return repr(printable(redacted(value)))
