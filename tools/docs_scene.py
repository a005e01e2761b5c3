"""Folders of made-up calls that the commands of the documentation are run on.

python -m tools.docs_scene calls      two days of two sites, eight calls of agent and customer, one broken file
python -m tools.docs_scene fridays    four Fridays of three sites, an upload that failed on the last of them
"""

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emolake.demo.encode import write_audio
from emolake.demo.scripts import AGENT, PROSODY, SCRIPTS
from emolake.demo.speech import synthesise

_RATE = 22_050
_LAST_DAY = date(2026, 11, 20)
_JUNK = b"RIFF" + bytes(range(256)) * 20


def _call(mood: str, number: int) -> NDArray[np.float32]:
    """Speak an agent and a customer in turns: [n, 2] at 22,050 Hz."""
    lines = SCRIPTS["en"]
    turns: list[tuple[int, NDArray[np.float32]]] = []  # side, samples with the pause after them
    for side, role, voice in ((0, AGENT, "en+f1"), (1, mood, "en+m2"), (1, mood, "en+m2")):
        line = lines[role][(number + len(turns)) % len(lines[role])]
        prosody = PROSODY["neutral" if role == AGENT else mood]
        spoken, _ = synthesise(line, voice=voice, **vars(prosody))
        turns.append((side, np.pad(spoken, (0, _RATE // 2))))
    both = np.zeros((sum(len(samples) for _, samples in turns), 2), np.float32)
    start = 0
    for side, samples in turns:
        both[start : start + len(samples), side] = samples
        start += len(samples)
    return both


def _write(path: Path, samples: NDArray[np.float32], codec: str = "wav") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, samples, _RATE, codec)


def make_calls(folder: Path) -> None:
    """Write two days of two sites, the customers of Oslo angry on the second, and a file that is no audio."""
    number = 1001
    for day in (_LAST_DAY - timedelta(days=1), _LAST_DAY):
        for site in ("berlin", "oslo"):
            for _ in range(2):
                mood = "anger" if site == "oslo" and day == _LAST_DAY else "neutral"
                codec, ending = ("m4a", "m4a") if number % 4 == 0 else ("wav", "wav")
                _write(folder / f"{day:%Y/%m/%d}/{site}/{number}.{ending}", _call(mood, number), codec)
                number += 1
    (folder / f"{_LAST_DAY:%Y/%m/%d}/oslo/{number}.wav").write_bytes(_JUNK)


def make_fridays(folder: Path) -> None:
    """Write five calls of two sites and three of another one on four Fridays; one site has only one on the last."""
    voices = {mood: _call(mood, 0) for mood in ("neutral", "anger")}
    for weeks in range(3, -1, -1):
        day = _LAST_DAY - timedelta(weeks=weeks)
        for site, calls in (("berlin", 5), ("lisbon", 3), ("oslo", 2)):
            for number in range(1 if site == "berlin" and weeks == 0 else calls):
                mood = "anger" if site == "lisbon" and number else "neutral"
                _write(folder / f"{day:%Y/%m/%d}/{site}/{number}.wav", voices[mood])
    day_folder = folder / f"{_LAST_DAY:%Y/%m/%d}"
    _write(day_folder / "oslo/silent.wav", np.zeros((3 * _RATE, 2), np.float32))
    (day_folder / "oslo/junk.wav").write_bytes(_JUNK)
    (day_folder / "oslo/notes.txt").write_text("Headset 4 crackles.\n", "utf-8")
    _write(day_folder / "oslo-3.wav", voices["neutral"][: 3 * _RATE])


if __name__ == "__main__":
    {"calls": make_calls, "fridays": make_fridays}[sys.argv[1]](Path("calls"))
