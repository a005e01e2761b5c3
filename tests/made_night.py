"""A night of three made calls in a real S3 bucket, analysed by every model that is given."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from emolake.demo.encode import write_audio
from emolake.demo.s3_server import serve_s3
from emolake.demo.speech import synthesise
from emolake.flows.backfill import backfill
from emolake.flows.nightly import nightly
from emolake.lake.connect import open_lake
from emolake.settings import load_settings

from chaos.servers import ACCESS_KEY, SECRET_KEY

DAY = date(2026, 11, 20)
TEXTS = (
    "Good morning, how may I help you today?",
    "I have been waiting for three weeks and nobody has called me back!",
)


@contextmanager
def night_heard_by(models: Mapping[str, Mapping[str, Any]], folder: Path) -> Iterator[Path]:
    """Configuration of a lake that the nightly filled with the first model, and backfills with the others.

    Flows talk to the Prefect API that is there: its users ask for the fixture `prefect`.
    """
    calls = folder / "s3" / "calls" / f"{DAY:%Y/%m/%d}" / "oslo"
    calls.mkdir(parents=True)
    for number, text in enumerate(TEXTS):
        samples, rate = synthesise(text, voice="en", pitch=40 + 20 * number)
        write_audio(calls / f"call {number}.wav", samples[:, None], rate, "wav")
    write_audio(calls / "silent.wav", np.zeros((32_000, 1), np.float32), 16_000, "wav")
    config = folder / "emolake.toml"
    first, *others = models
    with serve_s3(folder / "s3", access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        lines = ["[source]", 'uri = "s3://calls"', f'endpoint_url = "{url}"']
        lines += ["[inference]", f'model = "{first}"', 'device = "cpu"']
        for name, keys in models.items():
            lines += [f"[models.{name}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
        config.write_text("\n".join(lines) + "\n", "utf-8")
        nightly(config=config, date=DAY)
        for name in others:
            backfill(first=DAY, last=DAY, config=config, model=name)
        yield config


def rows(config: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a query of the configuration's lake gives."""
    settings = load_settings(config)
    with open_lake(settings.warehouse, read_only=True) as opened:
        return opened.rows(sql)


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
