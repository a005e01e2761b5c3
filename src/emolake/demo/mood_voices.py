"""Sentences spoken in the moods of the demo, for checks that need some speech of every kind."""

import numpy as np
import soxr

from emolake.demo.scripts import PROSODY, SCRIPTS
from emolake.demo.speech import synthesise

_LINES = 3  # of each mood and language


def mood_voice(number: int, sampling_rate: int) -> np.ndarray:
    """Return a sentence [samples] float32; the first 12 are English, and after 96 they begin again."""
    moods, languages = list(PROSODY), list(SCRIPTS)
    language = languages[number // (len(moods) * _LINES) % len(languages)]
    mood = moods[number % len(moods)]
    text = SCRIPTS[language][mood][number // len(moods) % _LINES]
    samples, rate = synthesise(text, voice=language, **vars(PROSODY[mood]))
    return np.asarray(soxr.resample(samples, rate, sampling_rate), dtype=np.float32)
