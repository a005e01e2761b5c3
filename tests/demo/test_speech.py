from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest

from emolake.demo.speech import SpeechError, synthesise


def pitch_hz(samples: np.ndarray, sampling_rate: int) -> float:
    """Median fundamental of the louder half of 50 ms frames, by autocorrelation between 60 and 400 Hz."""
    window = sampling_rate // 20
    frames = samples[: len(samples) // window * window].reshape(-1, window)
    frames = frames - frames.mean(axis=1, keepdims=True)
    energy = (frames**2).sum(axis=1)
    spectra = np.fft.rfft(frames[energy > np.median(energy)], 2 * window)
    correlation = np.fft.irfft(np.abs(spectra) ** 2)[:, :window]
    shortest, longest = sampling_rate // 400, sampling_rate // 60
    return float(np.median(sampling_rate / (shortest + correlation[:, shortest:longest].argmax(axis=1))))


@pytest.mark.parametrize(
    ("voice", "text"),
    [
        ("en", "Good morning, how can I help you?"),
        ("en-us+f1", "Good morning, how can I help you?"),
        ("de+m3", "Guten Tag, was kann ich für Sie tun?"),
        ("fr+f5", "Bonjour, que puis-je faire pour vous ?"),
        ("es+m7", "Buenos días, ¿en qué puedo ayudarle?"),
        ("it", "Buongiorno, come posso aiutarla?"),
        ("pt+f2", "Bom dia, em que posso ajudar?"),
        ("ja", "どのような ごようけんでしょうか。"),
        ("ko", "무엇을 도와드릴까요?"),
    ],
)
def test_speaks_in_many_voices(voice: str, text: str):
    samples, sampling_rate = synthesise(text, voice=voice)
    assert sampling_rate == 22050
    assert samples.dtype == np.float32
    assert 0.8 < len(samples) / sampling_rate < 5.0
    assert 0.1 < np.abs(samples).max() <= 1.0


@pytest.mark.parametrize(
    "variant", ["", "f1", "f4", "linda", "anika", "m1", "m2", "m3", "m4", "m5", "m6", "m7"]
)
def test_an_utterance_does_not_depend_on_those_before_it(variant: str):
    first, _ = synthesise("The very same words, said twice.", voice=f"en+{variant}")
    synthesise("Ganz andere Wörter, und viel mehr davon.", voice="de+m1", rate_wpm=300, pitch=80)
    again, _ = synthesise("The very same words, said twice.", voice=f"en+{variant}")
    np.testing.assert_array_equal(first, again)


def test_threads_do_not_mix_their_utterances():
    texts = [f"Number {number} of the utterances." for number in range(8)]
    alone = [synthesise(text, voice="en")[0] for text in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda text: synthesise(text, voice="en")[0], texts))
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(expected, found)


def test_the_settings_are_heard():
    text = "I would like to know when the technician is coming."
    plain, rate = synthesise(text, voice="en")
    fast, _ = synthesise(text, voice="en", rate_wpm=300)
    soft, _ = synthesise(text, voice="en", volume=30)
    high, _ = synthesise(text, voice="en", pitch=95)
    low, _ = synthesise(text, voice="en", pitch=5)
    assert len(fast) < 0.75 * len(plain)
    assert np.sqrt(np.mean(soft**2)) < 0.5 * np.sqrt(np.mean(plain**2))
    assert pitch_hz(high, rate) > 1.5 * pitch_hz(low, rate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voice": "xx"}, "choose one of .*de"),
        ({"voice": "de+f99"}, "no voice variant 'f99'; choose one of .*f5"),
        ({"voice": "en", "rate_wpm": 20}, "rate_wpm is 20; eSpeak NG takes 80 to 450"),
        ({"voice": "en", "pitch": 100}, "pitch is 100"),
        ({"voice": "en", "pitch_range": -1}, "pitch_range is -1"),
        ({"voice": "en", "volume": 201}, "volume is 201"),
    ],
)
def test_refuses_what_it_cannot_speak(arguments: dict, message: str):
    with pytest.raises(SpeechError, match=message):
        synthesise("Hello.", **arguments)


def test_refuses_a_text_without_words():
    with pytest.raises(SpeechError, match="no sound"):
        synthesise("", voice="en")
    samples, _ = synthesise("It speaks on after an error.", voice="en")
    assert samples.any()


def test_speaks_from_a_deep_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected, _ = synthesise("Deep down.", voice="de+f1")
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 8)
    deep.mkdir(parents=True)
    data = deep / "espeak-ng-data"
    data.symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
    assert len(str(data)) > 160
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(data))
    found, _ = synthesise("Deep down.", voice="de+f1")
    np.testing.assert_array_equal(expected, found)


def test_says_what_to_do_without_voice_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(empty))
    with pytest.raises(SpeechError, match="reinstall the package espeakng-loader"):
        synthesise("Hello.", voice="en")
