"""Whisper's transcripts are those of each clip alone, however many go through it at once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from models.families.test_multimodal import write_whisper

from emolake.models import transcriber
from emolake.models.transcriber import Transcriber

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Whisper whose texts are full of timestamps, although none are asked for."""
    folder = tmp_path_factory.mktemp("timed")
    write_whisper(folder)
    return folder


@pytest.fixture(scope="module")
def whisper(timed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without timestamps, as real ones are."""
    folder = Path(shutil.copytree(timed, tmp_path_factory.mktemp("whisper") / "model"))
    path = folder / "generation_config.json"
    config = json.loads(path.read_text())
    config["suppress_tokens"] += range(
        config["no_timestamps_token_id"] + 1, config["no_timestamps_token_id"] + 1502
    )
    path.write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def clips() -> list[torch.Tensor]:
    """More than go through at once, of mixed lengths: noise, tones, silence."""
    generator = np.random.default_rng(3)
    made = [
        generator.normal(0, level, length)
        for level in (0.002, 0.1)
        for length in (400, 16_000, 9_000, 90_000)
    ]
    made += [np.zeros(12_000), *(0.3 * np.sin(np.arange(24_000) / step) for step in (3, 9, 27))]
    return [torch.from_numpy(clip.astype(np.float32)) for clip in made]


def by_transformers(folder: Path, clips: list[torch.Tensor], language: str | None) -> list[str]:
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    texts = []
    for clip in clips:
        features = extractor(clip.numpy(), sampling_rate=16_000, return_tensors="pt")
        tokens = model.generate(**features, language=language, task="transcribe", max_new_tokens=12)
        texts.append(str(tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]).strip())
    return texts


@pytest.mark.parametrize("language", ["ko", None], ids=["named", "guessed"])
@torch.inference_mode()
def test_a_batch_changes_no_transcript(
    whisper: Path, clips: list[torch.Tensor], language: str | None
) -> None:
    model = Transcriber(whisper, language=language, max_new_tokens=12)
    expected = by_transformers(whisper, clips, language)
    assert len(set(expected)) > 3
    assert model.transcripts(clips) == expected
    assert model.transcripts(clips[::-1]) == expected[::-1]
    assert [text for clip in clips for text in model.transcripts([clip])] == expected


@torch.inference_mode()
def test_nor_where_the_model_writes_timestamps(timed: Path, clips: list[torch.Tensor]) -> None:
    model = Transcriber(timed, language="ko", max_new_tokens=12)
    assert max(model._decoded(clips[:4])[1]) < 0
    assert model.transcripts(clips[:4]) == by_transformers(timed, clips[:4], "ko")


@torch.inference_mode()
def test_several_clips_go_through_the_encoder_once_and_together(
    whisper: Path, clips: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Transcriber(whisper, language=None, max_new_tokens=3)
    sizes: list[int] = []
    model.model.get_encoder().conv1.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr(transcriber, "_CLOSE", 0.0)
    model.transcripts(clips)
    assert sizes == [8, 4]


@torch.inference_mode()
def test_a_clip_of_close_choices_is_transcribed_by_itself(
    whisper: Path, clips: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Transcriber(whisper, language=None, max_new_tokens=3)
    _, margins = model._decoded(clips[:4])
    assert min(margins) >= 0
    sizes: list[int] = []
    model.model.get_encoder().conv1.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr(transcriber, "_CLOSE", sorted(margins)[1])  # one clip's is below
    model.transcripts(clips[:4])
    assert sizes[0] == 4
    assert set(sizes[1:]) == {1}  # transformers runs it twice: for the language and for the text


def test_the_margin_is_that_of_the_closest_choice_before_the_end() -> None:
    margins = transcriber._Margins(2, [0], torch.device("cpu"))
    ids = torch.zeros(2, 1, dtype=torch.long)
    for first, second in ((([1.0, 5.0, 2.0]), [9.0, 1.0, 0.5]), ([3.0, 3.5, -torch.inf], [1.0, 1.0, 1.0])):
        scores = torch.tensor([first, second])
        assert margins(ids, scores) is scores  # type: ignore[arg-type]
    assert margins.smallest.tolist() == [0.5, 8.0]  # the second clip ended at its first token
