"""Segments to scores, in the order given: by the process' device thread, or a shard by itself on a processor."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from threading import Lock

from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, EmotionModel
from emolake.models.runtimes.replay import CudaRecorder
from emolake.pipeline.device_thread import Client, DeviceThread, Ticket
from emolake.tasks.classify import Scores, classify, described, is_scorable
from emolake.tasks.featurize import Mark, Owner
from emolake.tasks.segment import Segment

# Batches that a shard has handed over at most, answered or not, before it waits for the first of them.
_BATCHES_AHEAD = 8
# Pieces without samples take memory too.
_MOST_PIECES = 4096

_threads: dict[tuple[int, float, int, float | None, bool], DeviceThread] = {}
_lock = Lock()


def scored(
    pieces: Iterable[tuple[Owner, Segment | Mark]],
    model: EmotionModel,
    *,
    inference: InferenceOptions,
    whole_s: float | None,
    name: Callable[[Owner], str],
) -> Generator[tuple[Owner, Segment | Mark, Scores | None], None, None]:
    """Yield every segment with its scores, in the order given, as `emolake.tasks.classify.classify` does.

    A GPU is busy only if batches are full and several are under way, so there what all shards of the process bring
    meets in the same batches. On a processor each shard makes its own, in its own thread: its rows are then the same
    to the bit whatever runs beside it, and a small network, which keeps to one core, uses as many as there are shards.

    Args:
        pieces: segments with whatever they belong to, and marks; taken as they are needed.
        model: what scores them.
        inference: how large batches are, and how many are under way.
        whole_s: length of a full window; None where none is.
        name: what errors call the owner of a segment.

    Raises:
        ModelError: see `classify`; or the device was lost.
    """
    batch_seconds = inference.seconds_in_batch(model.device)
    in_flight = inference.batches_at_once(model.device)
    if model.precision != "fp32" and model.batching is not Batching.SINGLE:
        in_flight = max(in_flight, 1)  # mates change nothing only in the fixed shapes that the thread makes
    if not in_flight:
        yield from classify(pieces, model, batch_seconds=batch_seconds, name=name)
        return
    thread = device_thread(model, batch_seconds, in_flight, whole_s, cuda_graphs=inference.cuda_graphs)
    with thread.client() as client:
        yield from scored_by(client, pieces, model, batch_seconds=batch_seconds, name=name)


def device_thread(
    model: EmotionModel,
    batch_seconds: float,
    in_flight: int,
    whole_s: float | None,
    *,
    cuda_graphs: bool = False,
) -> DeviceThread:
    """Return the thread that serves a loaded model in this process; both stay as long as the process does."""
    cuda_graphs &= model.device.startswith("cuda")
    with _lock:
        key = (id(model), batch_seconds, in_flight, whole_s, cuda_graphs)
        if key not in _threads:
            _threads[key] = DeviceThread(
                model,
                batch_seconds=batch_seconds,
                in_flight=in_flight,
                whole_s=whole_s,
                recorder=CudaRecorder(model.device) if cuda_graphs else None,
            )
        return _threads[key]


def scored_by(
    client: Client,
    pieces: Iterable[tuple[Owner, Segment | Mark]],
    model: EmotionModel,
    *,
    batch_seconds: float,
    name: Callable[[Owner], str] = str,
) -> Iterator[tuple[Owner, Segment | Mark, Scores | None]]:
    """Yield every segment with the scores that a client of the device thread gets for it; see `scored`."""
    most = int(_BATCHES_AHEAD * batch_seconds * model.sampling_rate)
    window: deque[tuple[Owner, Segment | Mark, Ticket | None]] = deque()
    held = 0

    def first() -> tuple[Owner, Segment | Mark, Scores | None]:
        nonlocal held
        owner, piece, ticket = window.popleft()
        if ticket is None:
            return owner, piece, None
        held -= ticket.length
        return owner, piece, client.scores(ticket)

    for owner, piece in pieces:
        ticket = None
        if is_scorable(piece, model):
            ticket = client.submit(piece.samples, described(name(owner), piece))
            held += ticket.length
        window.append((owner, piece, ticket))
        while window and (_is_done(window[0][2]) or held >= most or len(window) >= _MOST_PIECES):
            yield first()
    client.end()
    while window:
        yield first()


def _is_done(ticket: Ticket | None) -> bool:
    return ticket is None or ticket.is_done
