"""Recordings that kill, hang or fill the decoder's process are bad, and the ones beside them are not."""

import gzip
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from emolake.audio.conversation import ConversationMeter, Dynamics
from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import BadRecordingError
from emolake.pipeline.decoder_process import DecoderError, decoded, end_idle_decoders
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.shard import analyse
from emolake.pipeline.timings import Timings
from emolake.prediction.files import source_object
from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.tasks.decode import AudioReader, DecodeOptions, DecodeOutcome, Opened
from emolake.tasks.segment import Segment, SegmentOptions, segment

from made_model import write_tiny_model

pytestmark = pytest.mark.slow

# Python runs a `sitecustomize` of its search path at its start: there the decoder's process is poisoned.
POISON = textwrap.dedent(
    """
    import os, sys, time
    if sys.argv[:1] == ["-c"]:
        import soundfile
        real = soundfile.SoundFile.__init__
        def opened(self, file, *arguments, **more):
            name = str(file)
            if "crash" in name:
                os.abort()
            if "hang" in name:
                time.sleep(3600)
            if "memory" in name:
                self.hoard = [bytearray(16_000_000) for _ in range(10_000)]
            if "chatter" in name:
                os.write(2, b"Warning: a frame was lost\\n\\x1b[31mError: red\\n")
            if "bug" in name:
                raise LookupError("a mistake in the program")
            real(self, file, *arguments, **more)
        soundfile.SoundFile.__init__ = opened
    """
)
OPTIONS = SegmentOptions(window_s=1.0, hop_s=1.0, min_tail_s=0.6)
# Of a recording of 2.5 s: its header, two segments, its conversation, its end.
MESSAGES = 5


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of recordings for a decoder that takes their names by their word."""
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "sitecustomize.py").write_text(POISON)
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'poison'}{os.pathsep}{inherited}".rstrip(os.pathsep))
    calls = tmp_path / "calls"
    calls.mkdir()
    for name in ("a good", "b crash", "c good", "d hang", "e memory", "f good"):
        write(calls / f"{name}.wav")
    end_idle_decoders()
    yield calls
    end_idle_decoders()


def write(path: Path, seconds: float = 2.5) -> Path:
    noise = np.random.default_rng(1).normal(0, 0.1, int(16_000 * seconds))
    soundfile.write(path, noise, 16_000)
    return path


def run(path: Path, **changed: Any) -> list[Opened | Segment | Dynamics | DecodeOutcome]:
    options: dict[str, Any] = {"segmentation": OPTIONS, "timeout_s": 10.0, "memory_mb": 500} | changed
    return list(decoded(path, name=path.name, **options))


def children() -> list[psutil.Process]:
    return [
        each
        for each in psutil.Process().children()
        if "emolake.pipeline.decoder_process" in " ".join(each.cmdline())
    ]


def test_the_process_gives_what_decoding_here_gives(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    opened, *segments, dynamics, outcome = run(path)
    meter = ConversationMeter(OPTIONS.vad_threshold)
    with AudioReader(path) as reader:
        wanted = list(segment(reader.blocks(), options=OPTIONS, vad=SpeechDetector(), meter=meter))
    assert opened == Opened(reader.codec, 16_000, 1)
    assert outcome == reader.outcome
    assert dynamics == meter.dynamics()
    assert isinstance(dynamics, Dynamics)
    assert [each.channel for each in dynamics.channels] == [0]
    assert len(segments) == len(wanted) == 2
    for found, own in zip(segments, wanted, strict=True):
        assert isinstance(found, Segment)
        assert np.array_equal(found.samples, own.samples)
        assert (found.start_s, found.end_s, found.speech_ratio) == (own.start_s, own.end_s, own.speech_ratio)


def test_one_process_serves_one_recording_after_the_other(tmp_path: Path) -> None:
    end_idle_decoders()
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    run(write(tmp_path / "a.wav"))
    (first,) = children()
    with pytest.raises(BadRecordingError, match="undecodable"):
        run(tmp_path / "broken.wav")
    run(tmp_path / "a.wav")
    assert children() == [first]
    first.kill()
    first.wait()
    assert len(run(tmp_path / "a.wav")) == MESSAGES, "one that died while it was idle is replaced"


def test_a_reader_that_stops_half_way_leaves_no_process_behind(tmp_path: Path) -> None:
    end_idle_decoders()
    messages: Any = decoded(
        write(tmp_path / "a.wav", 60), name="a.wav", segmentation=OPTIONS, timeout_s=10, memory_mb=500
    )
    next(messages)
    messages.close()
    assert children() == []


@pytest.mark.parametrize(
    ("name", "reason", "said", "timeout_s"),
    [
        ("crash", "crashed", "ended with SIGABRT", 60.0),
        ("hang", "timed_out", "silent for 3 s", 3.0),
        ("memory", "out_of_memory", "decode.memory_mb", 60.0),
    ],
)
def test_poison_has_a_reason_and_its_process_an_end(
    poisoned: Path, name: str, reason: str, said: str, timeout_s: float
) -> None:
    run(poisoned / "a good.wav")
    with pytest.raises(BadRecordingError, match=said) as caught:
        run(next(poisoned.glob(f"*{name}.wav")), timeout_s=timeout_s)
    assert (caught.value.reason, caught.value.stage) == (reason, "decode")
    assert len(run(poisoned / "c good.wav")) == MESSAGES


def test_a_mistake_of_the_program_is_not_the_recordings(poisoned: Path) -> None:
    with pytest.raises(DecoderError, match="LookupError: a mistake in the program"):
        run(write(poisoned / "bug.wav"))


def test_what_a_library_writes_is_logged_with_the_name(
    poisoned: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level("DEBUG", logger="emolake.pipeline.decoder_process"):
        for name in ("chatter one.wav", "quiet.wav", "chatter two.wav"):
            run(write(poisoned / name))
    assert caplog.messages == [
        f"chatter {number}.wav: {line}"
        for number in ("one", "two")
        for line in ("Warning: a frame was lost", r"\x1b[31mError: red")
    ]
    assert capfd.readouterr().err == ""


def test_a_process_that_cannot_begin_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_idle_decoders()
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('the disk is on fire')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BadRecordingError, match="the disk is on fire"):
        run(write(tmp_path / "a.wav"))


def test_what_is_unpacked_goes_with_its_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_idle_decoders()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    packed = tmp_path / "a.wav.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "a.wav").read_bytes()))
    assert len(run(packed)) == len(run(tmp_path / "a.wav")) == MESSAGES
    messages: Any = decoded(packed, name="a.wav", segmentation=OPTIONS, timeout_s=10, memory_mb=500)
    next(messages)
    assert list(scratch.iterdir())
    messages.close()  # which kills the process
    assert not list(scratch.iterdir())
    with pytest.raises(BadRecordingError, match=r"decode\.unpacked_mb"):
        run(packed, options=DecodeOptions(unpacked_mb=0))


def test_poison_among_good_recordings_costs_only_itself(poisoned: Path, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "models": {"tiny": {"path": str(write_tiny_model(tmp_path / "tiny"))}},
            "inference": {"model": "tiny", "device": "cpu"},
            "decode": {"timeout_s": 10.0, "memory_mb": 300},
            "segmentation": {"min_speech_ratio": 0.0},
        }
    )
    model = loaded_model(settings.registry.entry(), settings.inference)
    objects = [source_object(path) for path in sorted(poisoned.iterdir())]
    found = analyse(
        objects, source=FolderSource(Path("/")), model=model, settings=settings, timings=Timings()
    )
    reasons = {Path(each.item.key).stem: each.error and each.error.reason for each in found}
    assert reasons == {
        "a good": None,
        "b crash": "crashed",
        "c good": None,
        "d hang": "timed_out",
        "e memory": "out_of_memory",
        "f good": None,
    }
    assert all(row.scores is not None for each in found for row in each.rows)


def test_the_working_folder_is_no_place_for_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_idle_decoders()
    path = write(tmp_path / "a.wav")
    (tmp_path / "soundfile.py").write_text(
        "import pathlib; pathlib.Path('executed').touch(); raise SystemExit"
    )
    monkeypatch.chdir(tmp_path)
    assert len(run(path)) == MESSAGES
    assert not (tmp_path / "executed").exists()


def test_decoders_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from emolake.pipeline.decoder_process import decoded; "
        "from emolake.tasks.segment import SegmentOptions; "
        "m = decoded(Path(sys.argv[1]), name='a.wav', segmentation=SegmentOptions(), timeout_s=60, memory_mb=500); "
        "next(m); print('opened', flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(write(tmp_path / "a.wav", 600))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "opened\n"
        (child,) = psutil.Process(parent.pid).children()
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("when", ["while it starts", "while it waits"])
def test_what_stops_the_run_does_not_end_its_decoder(tmp_path: Path, when: str) -> None:
    """Ctrl-C and a service manager reach every process of the run; the recording at work is decoded none the less."""
    end_idle_decoders()
    path, before = write(tmp_path / "a.wav"), set(psutil.Process().children())
    if when == "while it waits":
        assert len(run(path)) == MESSAGES

    def send() -> None:
        while not (started := set(psutil.Process().children()) - before):
            time.sleep(0.001)
        for child in started:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                child.send_signal(number)

    sender = Thread(target=send)
    sender.start()
    assert len(run(path)) == MESSAGES
    sender.join(20)


def test_what_a_signal_is_like_does_not_depend_on_the_threads_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a cluster, whose workers each have a number of their own: rows are the same wherever they come from."""
    noise = np.random.default_rng(0).normal(0, 0.1, (12, 240_000)).astype(np.float32)
    for number, samples in enumerate(noise):
        soundfile.write(
            tmp_path / f"{number}.wav", samples[: 160_000 + 6_000 * number], 16_000, subtype="FLOAT"
        )
    levels = []
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        end_idle_decoders()  # or one is asked that began with other ones
        of_threads = []
        for path in sorted(tmp_path.glob("*.wav")):
            *_, outcome = decoded(path, name=path.name, segmentation=OPTIONS, timeout_s=30.0, memory_mb=2048)
            assert isinstance(outcome, DecodeOutcome)
            assert outcome.signal is not None
            of_threads.append(outcome.signal.level_dbfs)
        levels.append(of_threads)
    end_idle_decoders()
    assert levels[0] == levels[1] == levels[2]
