"""YAMNet's class map: which of its outputs is which sound event, and the five that stand for an emotion."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emolake.errors import ConfigurationError

EVENTS = ("Speech", "Laughter", "Crying, sobbing", "Screaming", "Shout")
CLASS_MAP_FILE = "yamnet_class_map.csv"


def event_columns(class_map: Path) -> tuple[list[int], int]:
    """Return the output of each of `EVENTS`, and how many outputs there are, of YAMNet's class map."""
    try:
        with class_map.open(newline="", encoding="utf-8") as file:
            names = _names(csv.DictReader(file), class_map)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"there is no {class_map}; set class_map to YAMNet's {CLASS_MAP_FILE}"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{class_map} is not CSV: {error}") from error
    absent = [event for event in EVENTS if names.count(event) != 1]
    if absent:
        raise ConfigurationError(
            f"{class_map} does not name {', '.join(map(repr, absent))} once; use YAMNet's {CLASS_MAP_FILE}"
        )
    return [names.index(event) for event in EVENTS], len(names)


def _names(rows: Iterable[Mapping[str, Any]], class_map: Path) -> list[str]:
    names = []
    for position, row in enumerate(rows):
        if row.get("index") != str(position) or not row.get("display_name"):
            raise ConfigurationError(
                f"{class_map}, row {position + 1}: expected index {position} and display_name, found {dict(row)}"
            )
        names.append(str(row["display_name"]))
    return names
