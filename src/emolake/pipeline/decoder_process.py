"""Decoding in a process of its own: a recording that crashes it, hangs in it or fills its memory is bad, and no more.

Decoders are C code that strangers' bytes are fed to. A child process decodes a recording, finds its speech and cuts
it into segments; it is kept for the next one, and replaced when it died or had to be killed. Several may be at work
side by side, one for each thread that asks.
"""

import atexit
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from emolake.audio.containers.gzipped import is_gzip
from emolake.audio.conversation import ConversationMeter, Dynamics
from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import BadRecordingError, EmolakeError, Reason
from emolake.messages import printable
from emolake.pipeline.interrupts import stop_signals_blocked
from emolake.pipeline.pipe import Pipe
from emolake.tasks.decode import AudioReader, DecodeOptions, DecodeOutcome, Opened
from emolake.tasks.segment import Segment, SegmentOptions, segment

PROGRAM = "from emolake.pipeline.decoder_process import main; main()"
"""What a decoder process runs; `bench.feed` runs another."""
_USUAL = DecodeOptions()
_MOST_OUTPUT = 10_000  # bytes of a decoder's standard error that are logged
# There are as many decoders as cores; and of a matrix product the last digit depends on how many threads make it.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

log = logging.getLogger(__name__)


class DecoderError(EmolakeError):
    """A decoder failed in a way that is no recording's fault; the message holds its traceback."""


@dataclass(frozen=True)
class _Job:
    path: Path
    name: str
    segmentation: SegmentOptions
    excluded_channels: Collection[int]
    unscored_channels: Collection[int]
    options: DecodeOptions
    scratch: Path | None


@dataclass(frozen=True)
class _Raised:
    traceback: str


_Message = Opened | Segment | Dynamics | DecodeOutcome | BadRecordingError | _Raised


def decoded(
    path: Path,
    *,
    name: str,
    segmentation: SegmentOptions,
    excluded_channels: Collection[int] = (),
    unscored_channels: Collection[int] = (),
    timeout_s: float,
    memory_mb: int,
    options: DecodeOptions = _USUAL,
) -> Iterator[Opened | Segment | Dynamics | DecodeOutcome]:
    """Yield a recording's header, its segments in the order of time, what its conversation did, and how decoding ended.

    Args:
        path: the file.
        name: its key, whose ending names a format without a header.
        segmentation: how it is cut.
        excluded_channels: what is kept from every model.
        unscored_channels: what is kept from every model but that of voice activity.
        timeout_s: how long the decoder may be silent.
        memory_mb: what a decoder that is started for this may allocate; one that was kept has its own bound.
        options: how it is decoded.

    Raises:
        BadRecordingError: it cannot be decoded, or its decoder crashed, hung or ran out of memory.
        DecoderError: the decoder failed for another reason.
    """
    child = _take(memory_mb)
    ended = False
    with _scratch(path) as scratch:
        try:
            child.pipe.send(
                _Job(path, name, segmentation, excluded_channels, unscored_channels, options, scratch)
            )
            while not ended:
                message = child.receive(timeout_s)
                ended = isinstance(message, DecodeOutcome | BadRecordingError)
                if isinstance(message, BadRecordingError):
                    raise message
                if isinstance(message, _Raised):
                    raise DecoderError(f"the decoder failed on {name}: {message.traceback}")
                yield message
        finally:
            child.log_output(name)
            # also when the reader stopped half-way: the rest of the recording is not waited for
            if ended:
                _give_back(child)
            else:
                child.kill()


@contextmanager
def _scratch(path: Path) -> Iterator[Path | None]:
    """Give a folder to unpack a recording in, so that nothing of a decoder that is killed stays behind."""
    try:
        packed = is_gzip(path)
    except OSError:  # the decoder says so with the reason
        packed = False
    if not packed:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="emolake-decode-") as folder:
        yield Path(folder)


class _Child:
    """A decoder process and the pipe to it, which ends it when it is closed."""

    def __init__(self, memory_mb: int) -> None:
        # What C libraries write to standard error; appended to, so that it can be cut.
        self._output = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed with the process
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: the working folder is on no search path, so no file there is taken for a module
            command = [sys.executable, "-P", "-c", PROGRAM]
            # What stops the run comes to every process of its group. This one ends with its pipe: were it to end
            # sooner, the recording at work would pass for one that crashes its decoder.
            with stop_signals_blocked():
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), str(memory_mb)],
                    pass_fds=[theirs.fileno()],
                    env=os.environ | _ONE_THREAD,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._output,
                )
        self.pipe = Pipe(ours.detach())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def receive(self, timeout_s: float) -> "_Message":
        """Return the next message; raises BadRecordingError when none comes in time, or ever."""
        try:
            message: _Message = self.pipe.receive(timeout_s)
        except TimeoutError:
            raise BadRecordingError(
                Reason.TIMED_OUT, f"the decoder was silent for {timeout_s:g} s", stage="decode"
            ) from None
        except (EOFError, ConnectionResetError) as error:
            status = self._process.wait()
            end = signal.Signals(-status).name if status < 0 else f"status {status}"
            end += "".join(f" ({line})" for line in self._lines()[-1:])
            raise BadRecordingError(
                Reason.CRASHED, f"the decoder process ended with {end}", stage="decode"
            ) from error
        return message

    def log_output(self, name: str) -> None:
        """Log what was written to standard error while a recording was decoded, and forget it."""
        for line in self._lines():
            log.debug("%s: %s", printable(name), line)
        self._output.truncate(0)

    def _lines(self) -> list[str]:
        """Return the last lines of standard error."""
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - _MOST_OUTPUT))
        text = self._output.read().decode(errors="replace")
        return [printable(line) for line in text.splitlines() if line.strip()]

    def kill(self) -> None:
        """End the process at once, and reap it."""
        self.pipe.close()
        self._process.kill()
        self._process.wait()
        self._output.close()


_idle: list[_Child] = []
_lock = Lock()


def _take(memory_mb: int) -> _Child:
    while True:
        with _lock:
            child = _idle.pop() if _idle else None
        if child is None:
            return _Child(memory_mb)
        if child.alive:
            return child
        child.kill()  # it died while it was idle; this reaps it


def _give_back(child: _Child) -> None:
    with _lock:
        _idle.append(child)


@atexit.register
def end_idle_decoders() -> None:
    """End the processes that wait for work; the next recording starts a new one."""
    with _lock:
        children, _idle[:] = list(_idle), []
    for child in children:
        child.kill()


def _serve(pipe: Pipe, detector: SpeechDetector) -> None:
    """Decode recordings as they are asked for, until the other end of the pipe is closed."""
    while True:
        try:
            job: _Job = pipe.receive()
        except (EOFError, ConnectionResetError):
            return
        try:
            with AudioReader(job.path, job.options, name=job.name, scratch=job.scratch) as reader:
                pipe.send(Opened(reader.codec, reader.sampling_rate, reader.channels))
                meter = ConversationMeter(job.segmentation.vad_threshold)
                for piece in segment(
                    reader.blocks(),
                    options=job.segmentation,
                    excluded_channels=job.excluded_channels,
                    unscored_channels=job.unscored_channels,
                    vad=detector,
                    meter=meter,
                ):
                    pipe.send(piece)
                signal = reader.outcome.signal
                pipe.send(meter.dynamics(signal.voices if signal else ()))
                pipe.send(reader.outcome)
        except (BrokenPipeError, ConnectionResetError):
            return
        except BadRecordingError as error:
            pipe.send(error)
        except Exception as error:  # noqa: BLE001 - it is raised again in the process that asked
            pipe.send(_out_of_memory() if _is_out_of_memory(error) else _Raised(traceback.format_exc()))


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an allocation failed, which onnxruntime reports as an error of its own."""
    return isinstance(error, MemoryError) or "bad_alloc" in str(error) or "Failed to allocate" in str(error)


def _out_of_memory() -> BadRecordingError:
    return BadRecordingError(
        Reason.OUT_OF_MEMORY, "the decoder took more than decode.memory_mb", stage="decode"
    )


def _limit_memory(megabytes: int) -> None:
    """Bound what this process may allocate beyond what it has; on Linux, which alone counts it so."""
    status = Path("/proc/self/status")
    if status.is_file():
        held = next(line for line in status.read_text().splitlines() if line.startswith("VmData:"))
        most = int(held.split()[1]) * 1024 + megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def main() -> None:
    """Run the child; its arguments are the pipe's file descriptor and its memory in MB."""
    descriptor, memory_mb = map(int, sys.argv[1:])
    detector = SpeechDetector()
    _limit_memory(memory_mb)
    _serve(Pipe(descriptor), detector)
    os._exit(0)  # nothing to clean up, and a decoder's threads may never end
