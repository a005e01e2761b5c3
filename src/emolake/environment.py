"""The environment: the one module, beside the settings, that reads or sets its variables."""

import os
from pathlib import Path

DEFAULT_CONFIG_FILE = Path("emolake.toml")
_QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
# Where Prefect looks for settings, beside its variables, which may name other places.
_PREFECT_FILES = (
    Path("prefect.toml"), Path("pyproject.toml"), Path(".env"), Path("~/.prefect/profiles.toml")
)  # fmt: skip


def default_config_file() -> Path | None:
    """Return the file that EMOLAKE_CONFIG names, or ./emolake.toml when there is one."""
    named = os.environ.get("EMOLAKE_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_CONFIG_FILE if DEFAULT_CONFIG_FILE.is_file() else None


def secrets_folder() -> Path | None:
    """Return the folder that EMOLAKE_SECRETS names: a file for each secret, called like the variable it replaces."""
    named = os.environ.get("EMOLAKE_SECRETS")
    return Path(named) if named else None


def cache_folder() -> Path:
    """Return the folder that EMOLAKE_CACHE names, or ~/.cache/emolake: what can be computed again."""
    return Path(os.environ.get("EMOLAKE_CACHE") or "~/.cache/emolake").expanduser()


def visible_gpus() -> str | None:
    """Return which of NVIDIA's GPUs this process may use, as CUDA_VISIBLE_DEVICES says; None where all."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def history_file() -> Path:
    """Return the file of what was typed into `emolake shell`: EMOLAKE_HISTORY, or one below XDG_STATE_HOME."""
    state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state")
    return Path(os.environ.get("EMOLAKE_HISTORY") or state / "emolake" / "history").expanduser()


def quiet_prefect() -> None:
    """Keep Prefect's log to what ends a process, and its telemetry at home, unless the environment says otherwise.

    Errors are reported once, by the command line. To be called before Prefect is imported.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def has_prefect_server() -> bool:
    """Return whether a server of Prefect is configured, by PREFECT_API_URL or in a profile or file of Prefect's.

    Prefect is only asked where any of these is there: importing it is a fourth of what a night without work takes.
    """
    variables = any(name.upper().startswith("PREFECT_") for name in os.environ.keys() - _QUIET.keys())
    if not variables and not any(path.expanduser().exists() for path in _PREFECT_FILES):
        return False
    from prefect.settings import get_current_settings

    return bool(get_current_settings().api.url)


def use_prefect_server(url: str) -> None:
    """Let what is imported and started from now on talk to a server of Prefect."""
    os.environ["PREFECT_API_URL"] = url
