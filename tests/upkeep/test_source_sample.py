"""The sample of doctor: many folders, so that neither one that is odd nor one that is sound speaks for all."""

from pathlib import Path

import numpy as np
import pytest

from emolake.demo.encode import write_audio
from emolake.errors import EmolakeError
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.source.sampling import spread
from emolake.upkeep.source_sample import matched_keys, sampled, tried_recordings

from made_model import write_tiny_model


def settings_of(folder: Path, **source: str) -> Settings:
    return Settings(source=SourceOptions(uri=str(folder / "calls"), **source))  # type: ignore[arg-type]


def put(folder: Path, *keys: str) -> None:
    for key in keys:
        (folder / "calls" / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / "calls" / key).write_bytes(b"x" * 100)


def calls(months: range, days: range, sites: tuple[str, ...] = ("berlin", "oslo")) -> list[str]:
    return [
        f"2026/{m:02d}/{d:02d}/{site}/{n}.wav"
        for m in months
        for d in days
        for site in sites
        for n in range(3)
    ]


def detail(settings: Settings) -> str:
    return matched_keys(settings, sampled(settings))


def test_a_stray_first_folder_does_not_make_a_sound_source_wrong(tmp_path):
    put(tmp_path, *(f".snapshots/{n}.bin" for n in range(50)), *calls(range(1, 4), range(1, 5)))
    said = detail(settings_of(tmp_path))
    assert ".snapshots/0.bin" in said
    assert "of 61 keys from 13 folders" in said
    assert "listed 61 → matched 36 (not .snapshots/" in said


@pytest.mark.parametrize(
    "last", ["2026/11/20/oslo/deep/1.wav", "2026/11/oslo-20261120-1.wav", "zz/new/1.wav"]
)
def test_a_new_layout_behind_a_sound_first_folder_is_named(tmp_path, last):
    put(tmp_path, *calls(range(1, 4), range(1, 5)), last)
    assert f"(not {last})" in detail(settings_of(tmp_path))


def test_where_nothing_matches_examples_are_named(tmp_path):
    put(tmp_path, "a/1.wav", "b/2.wav", "c/3.wav")
    with pytest.raises(
        EmolakeError, match=r"none of 3 keys from 3 folders .*'a/1.wav', 'b/2.wav', .*correct source"
    ):
        detail(settings_of(tmp_path))


def test_what_is_no_audio_is_named(tmp_path):
    put(tmp_path, "2026/11/20/oslo/1.wav", "2026/11/20/oslo/1.json", "top.txt")
    assert "listed 3 → matched 2 (not top.txt) → audio 1 (not 2026/11/20/oslo/1.json)" in detail(
        settings_of(tmp_path)
    )


def test_an_empty_source_and_a_flat_one(tmp_path):
    (tmp_path / "calls").mkdir()
    assert "nothing to try it on" in detail(settings_of(tmp_path))
    put(tmp_path, *(f"2026-11-{day:02d}_oslo.wav" for day in range(1, 11)))
    assert "audio 10" in detail(settings_of(tmp_path, pattern="{date:%Y-%m-%d}_{site}.{ext}"))


def test_dimensions_before_the_date_are_sampled_too(tmp_path):
    put(tmp_path, *(f"{site}/20261120/{n}.wav" for site in ("berlin", "oslo", "rome") for n in range(2)))
    assert "audio 6, of 6 keys from 3 folders" in detail(
        settings_of(tmp_path, pattern="{site}/{date:%Y%m%d}/{n}.wav")
    )


def test_very_many_folders_are_not_all_walked(tmp_path):
    put(tmp_path, *calls(range(1, 13), range(1, 29), ("oslo",)))
    sample = sampled(settings_of(tmp_path))
    assert sample.folders == 12
    months = {each.key[:7] for each in sample.entries}
    assert {"2026/01", "2026/12"} <= months
    assert len(months) > 4


@pytest.mark.parametrize("number", range(1, 40))
def test_a_spread_has_both_ends_and_nothing_twice(number):
    chosen = spread(range(number), 12)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(number, 12)
    assert (chosen[0], chosen[-1]) == (0, number - 1)


def test_a_few_recordings_are_taken_all_the_way(tmp_path):
    model = write_tiny_model(tmp_path / "tiny")
    noise = np.random.default_rng(0).normal(0, 0.1, (16_000, 1)).astype(np.float32)
    folder = tmp_path / "calls/2026/11/20/oslo"
    folder.mkdir(parents=True)
    for number in range(3):
        write_audio(folder / f"{number}.wav", noise, 8000, "wav")
    write_audio(folder / "silent.wav", np.zeros((16_000, 1), np.float32), 8000, "wav")
    (folder / "junk.wav").write_bytes(b"no audio at all" * 9)
    source = SourceOptions(uri=str(tmp_path / "calls"))
    settings = Settings(
        source=source, segmentation={"min_speech_ratio": 0.0}, models={"tiny": {"path": str(model)}}
    )  # type: ignore[arg-type]
    said = tried_recordings(settings, settings.registry.entry("tiny"), sampled(settings))
    assert said.startswith("tried 5 → decoded 4 (not 2026/11/20/oslo/junk.wav: undecodable: decode:")
    assert "labelled 4" in said
    for path in folder.iterdir():
        path.write_bytes(b"no audio at all" * 9)
    with pytest.raises(EmolakeError, match="none of 5 recordings could be decoded: .*undecodable"):
        tried_recordings(settings, settings.registry.entry("tiny"), sampled(settings))
