"""The commented configuration that `emolake init` writes, derived from the settings themselves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from pydantic import BaseModel

from emolake.messages import printable
from emolake.settings import Settings
from emolake.upkeep.bucket_survey import Survey

_EXAMPLES: dict[tuple[str, str], object] = {
    ("policy", "purpose"): "safety: distress on an emergency line",
    ("engine", "memory_mb"): 16000,
    ("source", "key_timezone"): "UTC",
    ("source", "date_from"): "last_modified",
    ("source", "sidecar"): "{stem}.json",
    ("source", "manifest"): "s3://calls/recordings.csv",
    ("source", "endpoint_url"): "http://127.0.0.1:9000",
    ("source", "region"): "eu-central-1",
    ("telemetry", "otlp_endpoint"): "http://127.0.0.1:4318",
    ("telemetry", "prometheus_port"): 9464,
    ("telemetry", "textfile"): "/var/lib/node_exporter/emolake.prom",
    ("alerts", "urls_file"): "/run/secrets/emolake-alerts",
    ("warehouse", "endpoint_url"): "http://127.0.0.1:9000",
    ("warehouse", "addressing"): "path",
}

# Names of one's own, and the tables below them, which `key = value` cannot show.
_TABLES = {
    ("roles", "layouts"): """\
# agent = 0
# customer = 1
# [[roles.layouts]]                  # recordings whose channels lie otherwise: the first that fits counts
# where = { site = ["berlin", "oslo"] }
# agent = 1
# customer = 0""",
}

_HEAD = """\
# emolake.toml: where recordings lie, how they are analysed, and where the tables go.
# Every key may be left out; the values below are the defaults. Environment variables win over this file,
# for example EMOLAKE_SOURCE__URI. Relative paths are relative to this file. Secrets do not belong here:
# S3 credentials come from the usual AWS chain, PostgreSQL's from ~/.pgpass or PGPASSWORD.
"""

_MODELS = """\

# Models by name, for inference.model and `emolake predict --model NAME`.
# [models.default]                   # the shipped one
# classes = ["neutral", "happiness", "anger", "sadness"]   # of a model's labels or emotions only these; for any model
# [models.mine]
# path = "runs/mine"                 # a folder that `emolake train --out` wrote
"""


def commented_toml(found: Survey | None = None, **values: str) -> str:
    """Return the configuration with every key, its default and a sentence on it.

    Defaults are those of the classes: the environment, which may hold a password, has no part in them.

    Args:
        found: values and notes that a look at the source came to.
        values: values for keys of [source] that differ from the defaults.
    """
    found = found or Survey()
    given = found.values | {("source", name): value for name, value in values.items()}
    lines = [_HEAD]
    for name, section in Settings.model_fields.items():
        if isinstance(section.default, BaseModel):
            lines += ["", f"# {_first_line(section.annotation)}", f"[{name}]"]
            lines += _keys(name, section.default, given, found.notes)
    return "\n".join(lines) + "\n" + _MODELS


def _keys(
    section: str,
    options: BaseModel,
    values: Mapping[tuple[str, str], object],
    notes: Mapping[tuple[str, str], Sequence[str]],
) -> Iterator[str]:
    for name, field in type(options).model_fields.items():
        if (section, name) in _TABLES:
            yield from _TABLES[section, name].splitlines()
            continue
        for paragraph in (*(field.description or "").split("\n\n"), *notes.get((section, name), ())):
            yield from wrap(
                printable(" ".join(paragraph.split())), 110, initial_indent="# ", subsequent_indent="# "
            )
        value = values.get((section, name), getattr(options, name))
        if value is None:
            yield f"# {name} = {_toml(_EXAMPLES[section, name])}"
        else:
            yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    """Return a TOML value: strings, numbers, booleans and arrays are written as in JSON."""
    if isinstance(value, dict):
        return (
            f"{{ {', '.join(f'{json.dumps(name)} = {_toml(item)}' for name, item in value.items())} }}"
            if value
            else "{}"
        )
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _first_line(annotation: object) -> str:
    return (annotation.__doc__ or "").strip().splitlines()[0]
