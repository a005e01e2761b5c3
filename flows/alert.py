"""Alert: send what the status finds wrong to the receivers of [alerts], for what no run can say of itself."""

from pathlib import Path

from prefect import flow

from emolake.errors import EmolakeError
from emolake.settings import load_settings
from emolake.upkeep.run_alerts import alerts_of_status, send_alerts
from emolake.upkeep.status import status_of


@flow(name="alert", validate_parameters=True)
def alert(config: Path | None = None) -> str:
    """Send what is wrong; return the state: ok, warn or fail.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
    """
    settings = load_settings(config)
    status = status_of(settings)
    problems = send_alerts(settings, alerts_of_status(status))
    if problems:
        raise EmolakeError(f"not every alert was delivered: {'; '.join(problems)}")
    return status.state
