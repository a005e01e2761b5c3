"""Speech from text by eSpeak NG, whose library and voices come in the `espeakng-loader` wheel.

The library keeps its state in globals: the phase of its pitch flutter, an echo buffer, a gain control.
One utterance would therefore depend on all that were spoken before it. Loading the library afresh for
each utterance (about 5 ms) makes the audio a function of the arguments alone. The variants with breath in
their timbre, f2, f3 and f5 among the common ones, are the exception: there the library reads memory that
nobody has set, so that lengths repeat but samples do not.
"""

import ctypes
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from emolake.errors import EmolakeError

# Values of eSpeak NG's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_VOICE_NOT_FOUND = 2

# espeak keeps its data path in a buffer of 160 bytes and appends file names to it.
_LONGEST_DATA_PATH = 100

_SLOPE_FROM_HZ = 300.0
_SLOPE_TAPS = 256

_SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
_lock = threading.Lock()


class SpeechError(EmolakeError):
    """eSpeak NG cannot speak what it was asked to."""


def synthesise(
    text: str,
    *,
    voice: str,
    rate_wpm: int = 175,
    pitch: int = 50,
    pitch_range: int = 50,
    volume: int = 100,
    softness_db: float = 0.0,
) -> tuple[NDArray[np.float32], int]:
    """Speak `text`: samples [n] in [-1, 1] and their rate in Hz. Equal arguments give equal samples.

    `voice` is a language of eSpeak NG, and after `+` a variant of its timbre: `de`, `en-us+f3`, `pt+m2`.
    `rate_wpm` is in words a minute (80 to 450), `pitch` from 0 to 99, `pitch_range` from 0 (monotone) to 100,
    `volume` from 0 to 200 with 100 as the usual one. eSpeak NG always speaks with the effort of a raised voice:
    `softness_db` takes so many decibels an octave from what is above 300 Hz, as a voice does that is not raised.

    Raises:
        SpeechError: a value out of range, an unknown voice or variant, or a text without a speakable word.
    """
    for name, value, low, high in (
        ("rate_wpm", rate_wpm, 80, 450),
        ("pitch", pitch, 0, 99),
        ("pitch_range", pitch_range, 0, 100),
        ("volume", volume, 0, 200),
    ):
        if not low <= value <= high:
            raise SpeechError(
                f"{name} is {value}; eSpeak NG takes {low} to {high}: choose a value in between"
            )
    # One at a time: the fresh copy of the globals is still one per process.
    with _lock, _short_data_path(Path(espeakng_loader.get_data_path())) as data, _loaded() as library:
        blocks: list[NDArray[np.int16]] = []

        def keep(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
            if samples and count > 0:
                blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        callback = _SYNTH_CALLBACK(keep)
        sampling_rate = library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
        if sampling_rate <= 0:
            raise SpeechError(
                f"eSpeak NG found no voice data in {data}; reinstall the package espeakng-loader"
            )
        try:
            library.espeak_SetSynthCallback(callback)
            _choose_voice(library, voice, data)
            for parameter, value in (
                (_RATE, rate_wpm),
                (_VOLUME, volume),
                (_PITCH, pitch),
                (_RANGE, pitch_range),
            ):
                library.espeak_SetParameter(parameter, value, 0)
            spoken = text.encode()
            status = library.espeak_Synth(
                spoken, len(spoken) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
            )
            if status != 0:
                raise SpeechError(
                    f"eSpeak NG gave status {status} for {text!r} with voice {voice!r} where 0 was expected; "
                    "try a shorter text"
                )
        finally:
            library.espeak_Terminate()
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
    if volume > 0 and not samples.any():
        raise SpeechError(f"{text!r} gave no sound with voice {voice!r}; give a text with at least one word")
    return _softened((samples / 32768.0).astype(np.float32), softness_db, sampling_rate), sampling_rate


def _softened(samples: NDArray[np.float32], softness_db: float, sampling_rate: int) -> NDArray[np.float32]:
    """Return a voice [n] with a spectrum that falls by so many decibels an octave more, and as loud as before."""
    if not softness_db or not samples.any():
        return samples
    hertz = np.fft.rfftfreq(_SLOPE_TAPS, 1 / sampling_rate)
    octaves = np.log2(np.maximum(hertz, _SLOPE_FROM_HZ) / _SLOPE_FROM_HZ)
    taps = np.fft.irfft(10 ** (-softness_db * octaves / 20), _SLOPE_TAPS)
    kernel = np.roll(taps, _SLOPE_TAPS // 2) * np.hanning(_SLOPE_TAPS)
    softer = oaconvolve(samples, kernel, mode="same")
    gain = np.sqrt(np.mean(np.square(samples)) / np.mean(np.square(softer)))
    return np.asarray(np.clip(softer * gain, -1, 1), dtype=np.float32)


@contextmanager
def _loaded() -> Iterator[ctypes.CDLL]:
    """Give the library with all its globals at their first values."""
    path = espeakng_loader.get_library_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise SpeechError(
            f"the speech library {path} does not load ({error}); reinstall the package espeakng-loader"
        ) from error
    try:
        yield library
    finally:
        unload = ctypes.CDLL(None).dlclose
        unload.argtypes = [ctypes.c_void_p]
        unload(library._handle)


@contextmanager
def _short_data_path(path: Path) -> Iterator[Path]:
    """Give `path`, by way of a link in the temporary folder where it is too long for eSpeak NG's buffer."""
    if len(os.fsencode(path)) <= _LONGEST_DATA_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        link = Path(folder) / "espeak-ng-data"
        if len(os.fsencode(link)) > _LONGEST_DATA_PATH:
            raise SpeechError(
                f"the temporary folder {folder} and the voice data {path} are both too deep for eSpeak NG, "
                f"which takes paths of {_LONGEST_DATA_PATH} bytes; set TMPDIR to a shorter path"
            )
        link.symlink_to(path.resolve(), target_is_directory=True)
        yield link


def _choose_voice(library: ctypes.CDLL, voice: str, data: Path) -> None:
    language, _, variant = voice.partition("+")
    variants = data / "voices" / "!v"
    # The library takes an unknown variant without a word and uses the plain voice.
    if variant and not (variants / variant).is_file():
        known = ", ".join(sorted(file.name for file in variants.iterdir()))
        raise SpeechError(f"eSpeak NG has no voice variant {variant!r}; choose one of {known}")
    status = library.espeak_SetVoiceByName(voice.encode())
    if status != 0:
        reason = "is not among its voices" if status == _VOICE_NOT_FOUND else f"gave status {status}"
        known = ", ".join(sorted(file.name.lower() for file in (data / "lang").rglob("*") if file.is_file()))
        raise SpeechError(f"the voice {language!r} of eSpeak NG {reason}; choose one of {known}")
