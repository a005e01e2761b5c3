"""Speech that a lower precision is compared with fp32 on when a model is loaded: eSpeak NG's voices in moods."""

import numpy as np

from emolake.demo.mood_voices import mood_voice

_ON_GPU, _ON_CPU = 96, 6
_RATE = 16_000
_MOST_S = 2.0  # on a processor, where each second costs


def probe_waves(*, on_gpu: bool) -> list[np.ndarray]:
    """Return clips [samples] float32 at 16 kHz, always the same: as many as a load has time for."""
    if on_gpu:
        return [mood_voice(number, _RATE) for number in range(_ON_GPU)]
    return [mood_voice(number, _RATE)[: round(_MOST_S * _RATE)] for number in range(_ON_CPU)]
