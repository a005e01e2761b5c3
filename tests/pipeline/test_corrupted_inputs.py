"""More than 300 broken recordings beside sound ones: each ends with the right status, and none takes the run along."""

import random
import struct
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_plan import figures_of, work_of

from emolake.demo.encode import CODECS, write_audio
from emolake.lake.connect import open_lake
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.shard import run_shard
from emolake.schemas.days import DayRange
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.plan import plan_day
from emolake.upkeep.verify import verify

from made_model import write_tiny_model

DAY = date(2026, 11, 20)
SEED = 20261120
BROKEN = ("quarantined", "truncated")


def sound(seconds: float = 2.0, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(SEED)
    return generator.normal(0, 0.1, (int(seconds * rate), channels)).astype(np.float32)


def originals(folder: Path) -> dict[str, bytes]:
    """Return a sound recording of every codec, by its ending."""
    made = {}
    for name, codec in CODECS.items():
        rate = 8000 if codec.rates_hz == (8000,) else 16_000
        path = folder / f"{name}.{codec.extension}"
        write_audio(path, sound(rate=rate), rate, name)
        made[path.name] = path.read_bytes()
    return made


def damaged(made: dict[str, bytes]) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """Yield name, bytes and the statuses that are right for them."""
    chance = random.Random(SEED)
    for name, whole in made.items():
        for turn in range(14):
            kept = chance.randrange(1, len(whole) - len(whole) // 8)
            # Bare MP3 and AMR that are cut exactly between frames look like shorter recordings.
            ends_anywhere = name.startswith(("mp3", "amr"))
            yield f"cut {turn} {name}", whole[:kept], (*BROKEN, "ok") if ends_anywhere else BROKEN
        for turn in range(14):
            flipped = bytearray(whole)
            for _ in range(chance.choice((1, 8, 200))):
                flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            yield f"flipped {turn} {name}", bytes(flipped), ("ok", *BROKEN)
        for turn, (start, size) in enumerate(((0, 16), (0, 64), (len(whole) // 2, 512))):
            zeroed = whole[:start] + bytes(size) + whole[start + size :]
            yield f"zeroed {turn} {name}", zeroed, ("ok", *BROKEN)
        yield f"doubled header {name}", whole[:40] + whole, ("ok", *BROKEN)
        ending = name.rpartition(".")[2]
        for other in ("wav", "flac", "mp3", "m4a", "ogg"):
            if other != ending:
                yield f"really {ending} {name}.{other}", whole, ("ok",)
    wav = made["wav.wav"]
    for field, offset, layout, values in (
        ("rate", 24, "<I", (0, 1, 192_000_000, 2**32 - 1)),
        ("channels", 22, "<H", (0, 33, 65_535)),
        ("bits", 34, "<H", (0, 3, 999)),
        ("length", 40, "<I", (1_000_000, 2**30)),
        (
            "placeholder",
            40,
            "<I",
            (2**31, 2**32 - 2),
        ),  # what recorders leave that do not know when they will end
    ):
        for value in values:
            lying = bytearray(wav)
            struct.pack_into(layout, lying, offset, value)
            right = {"bits": ("ok", *BROKEN), "placeholder": ("ok",)}.get(field, BROKEN)
            yield f"{field} {value}.wav", bytes(lying), right
    for turn in range(12):
        yield f"noise {turn}.wav", chance.randbytes(chance.randrange(1, 40_000)), ("quarantined",)
    yield "empty.wav", b"", ("quarantined",)
    yield "text.wav", b"To whom it may concern" * 50, ("quarantined",)
    yield "page.mp3", b"<html><script>alert(1)</script>" * 30, ("quarantined",)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, tuple[str, ...]], Any]:
    """A lake that has taken in a day of broken recordings, the statuses that are right, and what the shards said."""
    folder = tmp_path_factory.mktemp("corrupted")
    calls = folder / "calls" / f"{DAY:%Y/%m/%d}" / "oslo"
    calls.mkdir(parents=True)
    right: dict[str, tuple[str, ...]] = {}
    (folder / "made").mkdir()
    for name, content, statuses in damaged(originals(folder / "made")):
        (calls / name).write_bytes(content)
        right[name] = statuses
    for name, rate, channels in (("fast.wav", 192_000, 1), ("wide.wav", 16_000, 16), ("slow.wav", 4_000, 1)):
        soundfile.write(calls / name, sound(rate=rate, channels=channels), rate)
        right[name] = ("ok",)
    soundfile.write(calls / "32 channels.wav", sound(channels=32), 16_000)
    right["32 channels.wav"] = ("quarantined",)
    for name, bad in (("nan.wav", np.nan), ("infinite.wav", np.inf)):
        broken = sound()
        broken[7_000] = bad
        soundfile.write(calls / name, broken, 16_000, subtype="FLOAT")
        right[name] = ("quarantined",)
    for name in (
        'a "quoted" name.wav',
        "it's.wav",
        "two\nlines.wav",
        "; DROP TABLE recordings; --.wav",
        "ünïcødé 電話.wav",
    ):
        soundfile.write(calls / name, sound(), 16_000)
        right[name] = ("ok",)
    secret = folder / "secret.wav"
    soundfile.write(secret, sound(), 16_000)
    (calls / "link.wav").symlink_to(secret)
    right["link.wav"] = ("quarantined",)
    settings = Settings.model_validate(
        {
            "source": {"uri": str(folder / "calls")},
            "segmentation": {"min_speech_ratio": 0.0},
            "inference": {"model": "tiny", "device": "cpu"},
            "models": {"tiny": {"path": str(write_tiny_model(folder / "tiny"))}},
            "warehouse": {"catalog": f"sqlite:{folder / 'catalog.sqlite'}", "data": str(folder / "data")},
        }
    )
    entry = settings.registry.entry()
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    with open_lake(settings.warehouse) as lake:
        pattern = settings.source.key_pattern()
        chunks = list(plan_day(source, pattern, lake, DAY, key=key, policy=settings.policy))
    counts = run_shard(work_of(chunks), settings=settings, entry=entry, key=key, run_id="run", message="run")
    with open_lake(settings.warehouse) as lake:
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="run"))
    return settings, right, (figures_of(chunks), counts)


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with open_lake(settings.warehouse, read_only=True) as lake:
        return lake.rows(sql)


def test_every_recording_has_a_right_status(site: Any) -> None:
    settings, right, (listing, counts) = site
    assert len(right) > 300
    found = {
        uri.rpartition("/")[2]: status for uri, status in rows(settings, "SELECT uri, status FROM recordings")
    }
    assert set(found) == set(right)
    wrong = {name: status for name, status in found.items() if status not in right[name]}
    assert wrong == {}
    assert (listing.found, counts.done) == (len(right), len(right))
    assert Counter(found.values())["quarantined"] > 60


def test_no_input_costs_the_decoder_its_life(site: Any) -> None:
    settings, *_ = site
    reasons = dict(
        rows(
            settings,
            "SELECT split_part(error, ':', 1), count(*) FROM recordings WHERE error IS NOT NULL GROUP BY ALL",
        )
    )
    assert not {"crashed", "timed_out", "out_of_memory"} & set(reasons), reasons


def test_the_lake_keeps_its_promises(site: Any) -> None:
    settings, right, _ = site
    assert verify(settings).breaches == []
    assert rows(settings, "SELECT count(*), count(DISTINCT recording_id) FROM analyses") == [
        (len(right), len(right))
    ]
    assert rows(
        settings,
        "SELECT count(*) FROM segments JOIN recordings USING (recording_id) WHERE status = 'quarantined'",
    ) == [(0,)]
