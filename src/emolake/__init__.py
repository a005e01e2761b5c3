"""Recordings in object storage to daily tables of emotion in a DuckDB lakehouse.

>>> import emolake
>>> emolake.load_settings("nowhere.toml")
Traceback (most recent call last):
    ...
emolake.errors.ConfigurationError: there is no configuration file nowhere.toml; `emolake init` writes one
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emolake.api import decode, load_model, load_settings, open_lake, predict, segment

__all__ = ["decode", "load_model", "load_settings", "open_lake", "predict", "segment"]


def __getattr__(name: str) -> Any:
    """Load the public API when it is used: `import emolake` alone takes no time."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from emolake import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted(__all__)
