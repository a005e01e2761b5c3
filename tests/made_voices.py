"""Made voices of two emotions, for trainings of a few seconds."""

import csv
from pathlib import Path

import numpy as np
import soundfile

EMOTIONS = ("angry", "sad")


def utterance(speaker: int, emotion: str, take: int) -> np.ndarray:
    """Anger: loud, high and falling. Sadness: low, flat and dull. The speaker gives the base pitch."""
    generator = np.random.default_rng([speaker, emotion == "angry", take])
    t = np.arange(int(16000 * generator.uniform(0.5, 0.7))) / 16000
    base = 100 + 20 * speaker
    pitch = base * (2 - t) if emotion == "angry" else base + 0 * t
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    slope = 0.5 if emotion == "angry" else 2.0
    wave = sum(np.sin(k * phase) / k**slope for k in range(1, 15)) * np.hanning(len(t))
    wave = wave / np.abs(wave).max() * (0.6 if emotion == "angry" else 0.1)
    return wave + generator.normal(size=len(t)) * 1e-3


def write_voices(folder: Path, *, speakers: int, takes: int) -> Path:
    """Write clips and a CSV file that lists them; returns the latter. One of the clips is broken."""
    rows = []
    for speaker in range(speakers):
        for emotion in EMOTIONS:
            for take in range(takes):
                name = f"{speaker}-{emotion}-{take}.wav"
                soundfile.write(folder / name, utterance(speaker, emotion, take), 16000)
                rows.append((name, emotion, f"speaker-{speaker}"))
    (folder / "broken.wav").write_bytes(b"RIFF\x00\x00")
    rows.append(("broken.wav", "sad", "speaker-0"))
    with (folder / "list.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("file_path", "emotion", "speaker"), *rows])
    return folder / "list.csv"
