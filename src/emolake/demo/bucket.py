"""A made-up bucket: some days of a small call centre, spoken by eSpeak NG, with the objects that go wrong."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from emolake.demo.encode import CODECS, write_audio
from emolake.demo.scripts import AGENT, PROSODY, SCRIPTS, Prosody
from emolake.demo.speech import synthesise

PATTERN = "{date:%Y/%m/%d}/{site}/{call_id}.{ext}"
"""The key pattern of the made-up bucket."""

Kind = Literal["call", "silent", "truncated", "junk", "empty", "text"]

_SPEECH_HZ = 22050  # eSpeak NG's own rate
_SITES: dict[str, tuple[str, ...]] = {
    "berlin": ("de", "en", "it"),
    "lisbon": ("pt", "es", "fr"),
    "osaka": ("ja", "ko", "en-us"),
}
_FORMATS: tuple[tuple[str, int, int], ...] = (  # codec, rate in Hz, channels
    ("wav", 8000, 2),
    ("mp3", 16000, 1),
    ("flac", 16000, 2),
    ("m4a", 22050, 2),
    ("ogg-vorbis", 24000, 1),
    ("ogg-opus", 16000, 2),
    ("wav", 44100, 1),
    ("mp3", 22050, 2),
    ("flac", 48000, 1),
    ("m4a", 16000, 1),
    ("webm-opus", 48000, 1),
    ("amr", 8000, 1),
    ("wav", 16000, 2),
)
_CALLS_A_DAY = len(_FORMATS)
_AWKWARD_IDS: dict[str, str] = {
    "berlin": "Rückfrage #7 (Müller & Söhne)",
    "lisbon": "reclamação 3 + reembolso",
    "osaka": "お問い合わせ 4",
}
_AGENT_VARIANTS = ("f1", "linda", "m1", "m3")  # none with breath: those do not repeat
_CUSTOMER_VARIANTS = ("f4", "m2", "m4", "m7")
_AGENT_PROSODY = Prosody(rate_wpm=150, pitch=42, pitch_range=30, volume=95, softness_db=6.0)
_USUAL_MOODS = {"neutral": 0.76, "happiness": 0.08, "sadness": 0.08, "anger": 0.08}
_TROUBLED_MOODS = {"neutral": 0.2, "happiness": 0.0, "sadness": 0.1, "anger": 0.7}
_TROUBLED_SITE = "lisbon"  # on the last day, which a report is to show
_BACKGROUND_RMS = 0.0015
_CROSSTALK = 0.02  # how much of one side leaks into the other's channel


@dataclass(frozen=True)
class MadeCall:
    """One object of the made-up bucket, and what is in it."""

    key: str
    day: date
    site: str
    kind: Kind
    """`call`, or the way in which the object is none."""
    duration_s: float = 0.0
    """Length of the audio that was laid in; 0 where there is none."""
    codec: str = ""
    """Name in `encode.CODECS`, empty for an object that was never audio."""
    sampling_rate: int = 0
    """In Hz."""
    channels: int = 0
    """Two for the agent on the left and the customer on the right, one for both mixed."""
    language: str = ""
    """Of both speakers, as eSpeak NG names it."""
    mood: str = ""
    """The customer's, a key of `scripts.PROSODY`."""


def make_bucket(
    folder: Path,
    *,
    days: Sequence[date],
    seed: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[MadeCall]:
    """Fill `folder` with the calls of `days` under `PATTERN`; equal arguments give equal audio.

    On most days most customers are neutral; on the last one many of one site are angry. The days share one of each
    kind of object that is no good call. `progress` is called with the number of objects
    done, the number of all, and the key just written; it is called on the caller's thread.
    """
    calls = [call for index, day in enumerate(days) for call in _planned_day(day, index, len(days), seed)]
    made: list[MadeCall] = []
    # Two threads: the encoders work outside of the interpreter's lock while the next call is spoken.
    with ThreadPoolExecutor(max_workers=2) as pool:
        numbered = pool.map(lambda item: _write(folder, item[1], [seed, item[0]]), enumerate(calls))
        for call in numbered:
            made.append(call)
            if progress is not None:
                progress(len(made), len(calls), call.key)
    return made


def _planned_day(day: date, index: int, days: int, seed: int) -> list[MadeCall]:
    """Return the objects of one day without their audio."""
    rng = np.random.default_rng([seed, day.toordinal()])
    sites = list(_SITES)
    calls = []
    for number in range(_CALLS_A_DAY):
        # The shift by the day pairs each format with other sites and languages.
        site = sites[(number + index) % len(sites)]
        codec, sampling_rate, channels = _FORMATS[number]
        awkward = number // len(sites) == 1
        calls.append(
            MadeCall(
                key=_key(day, site, _AWKWARD_IDS[site] if awkward else f"call-{number:03d}", codec),
                day=day,
                site=site,
                kind="call",
                codec=codec,
                sampling_rate=sampling_rate,
                channels=channels,
                language=str(rng.choice(_SITES[site])),
                mood=_mood(site, is_last=index == days - 1, rng=rng),
            )
        )
    faults: tuple[MadeCall, ...] = (
        MadeCall(
            key=_key(day, "berlin", "on hold", "wav"),
            day=day,
            site="berlin",
            kind="silent",
            codec="wav",
            sampling_rate=8000,
            channels=2,
        ),
        MadeCall(key=_key(day, "osaka", "broken-header", "wav"), day=day, site="osaka", kind="junk"),
        MadeCall(
            key=_key(day, "lisbon", "cut-off", "wav"),
            day=day,
            site="lisbon",
            kind="truncated",
            codec="wav",
            sampling_rate=16000,
            channels=1,
            language="pt",
            mood="anger",
        ),
        MadeCall(key=_key(day, "lisbon", "hung-up", "wav"), day=day, site="lisbon", kind="empty"),
        MadeCall(key=f"{day:%Y/%m/%d}/berlin/shift notes.txt", day=day, site="berlin", kind="text"),
    )
    return calls + [fault for place, fault in enumerate(faults) if place % days == index]


def _mood(site: str, *, is_last: bool, rng: np.random.Generator) -> str:
    moods = _TROUBLED_MOODS if is_last and site == _TROUBLED_SITE else _USUAL_MOODS
    return str(rng.choice(list(moods), p=list(moods.values())))


def _key(day: date, site: str, call_id: str, codec: str) -> str:
    return f"{day:%Y/%m/%d}/{site}/{call_id}.{CODECS[codec].extension}"


def _write(folder: Path, call: MadeCall, seed: Sequence[int]) -> MadeCall:
    """Make the object in the bucket; the call comes back with the length of its audio."""
    rng = np.random.default_rng(seed)
    path = folder / call.key
    path.parent.mkdir(parents=True, exist_ok=True)
    if call.kind == "empty":
        path.write_bytes(b"")
        return call
    if call.kind == "junk":
        path.write_bytes(b"RIFF" + rng.bytes(6000))
        return call
    if call.kind == "text":
        path.write_text("Headset 4 crackles. The line was down from 10:40 to 10:55.\n", encoding="utf-8")
        return call
    two_sided = _silence(20.0, rng) if call.kind == "silent" else _conversation(call.language, call.mood, rng)
    mixed = two_sided if call.channels == 2 else two_sided.sum(axis=1, keepdims=True)
    samples = soxr.resample(np.clip(mixed, -1.0, 1.0), _SPEECH_HZ, call.sampling_rate).astype(np.float32)
    write_audio(path, samples, call.sampling_rate, call.codec)
    if call.kind == "truncated":
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 3 // 5])
    return replace(call, duration_s=len(samples) / call.sampling_rate)


def _conversation(language: str, mood: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Speak as agent and customer taking turns for 15 to 90 s, with a wait in longer calls: [n, 2] at 22,050 Hz."""
    lines = SCRIPTS[language]
    agent = f"{language}+{rng.choice(_AGENT_VARIANTS)}"
    customer = f"{language}+{rng.choice(_CUSTOMER_VARIANTS)}"
    least_s = float(np.exp(rng.uniform(np.log(14.0), np.log(65.0))))
    turns: list[tuple[int, NDArray[np.float32]]] = []  # side, samples with the pause after them
    length_s = 0.0
    has_waited = False
    for agent_line, customer_line in zip(cycle(lines[AGENT]), cycle(lines[mood]), strict=False):
        for side, line, voice, prosody in (
            (0, agent_line, agent, _AGENT_PROSODY),
            (1, customer_line, customer, PROSODY[mood]),
        ):
            pause_s = rng.uniform(0.25, 1.0)
            if side == 0 and length_s > 20.0 and not has_waited:
                pause_s, has_waited = rng.uniform(9.0, 14.0), True
            spoken = _spoken(line, voice, prosody)
            turns.append((side, np.pad(spoken, (0, round(pause_s * _SPEECH_HZ)))))
            length_s += len(turns[-1][1]) / _SPEECH_HZ
        if length_s >= least_s:
            break
    mixed = _silence(length_s, rng)
    start = 0
    for side, samples in turns:
        mixed[start : start + len(samples), side] += samples
        mixed[start : start + len(samples), 1 - side] += _CROSSTALK * samples
        start += len(samples)
    return mixed


@lru_cache(maxsize=64)  # the lines of a long call come round again
def _spoken(line: str, voice: str, prosody: Prosody) -> NDArray[np.float32]:
    samples, _ = synthesise(line, voice=voice, **vars(prosody))
    return samples


def _silence(length_s: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make a line on which nobody speaks, with a little noise: [n, 2] at 22,050 Hz."""
    return rng.standard_normal((round(length_s * _SPEECH_HZ), 2), np.float32) * np.float32(_BACKGROUND_RMS)
