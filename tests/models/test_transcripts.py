"""Transcripts on disk are read back as they were, by their owner alone, and never by another model's key."""

from pathlib import Path

import pytest

from emolake.models.transcripts import TranscriptCache


def test_a_broken_transcript_is_transcribed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = TranscriptCache(tmp_path, {}, {})
    cache.write(b"clip", "안녕\r\n하세요")
    assert (cache.read(b"clip"), cache.read(b"other")) == ("안녕\r\n하세요", None)
    [path] = [path for path in tmp_path.glob("*/*") if path.is_file()]
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"\xff\xfe\xff")
    assert cache.read(b"clip") is None
    assert "is broken and is transcribed again" in caplog.text


def test_another_model_or_way_of_decoding_has_entries_of_its_own(tmp_path: Path) -> None:
    cache, weights = tmp_path / "cache", tmp_path / "model.safetensors"
    cache.mkdir()
    weights.write_bytes(b"one")
    TranscriptCache(cache, {"weights": weights}, {"language": "ko"}).write(b"clip", "안녕")
    assert TranscriptCache(cache, {"weights": weights}, {"language": "ko"}).read(b"clip") == "안녕"
    assert TranscriptCache(cache, {"weights": weights}, {"language": None}).read(b"clip") is None
    weights.write_bytes(b"two")
    assert TranscriptCache(cache, {"weights": weights}, {"language": "ko"}).read(b"clip") is None
