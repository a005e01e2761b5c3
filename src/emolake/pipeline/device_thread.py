"""The one thread of a process that gives a model its batches, for all shards: what they ask meets in length buckets.

A full batch of one length goes first, whoever its segments are of. One that is not full goes when somebody waits for
a segment of it. Several batches are under way at once; answers are read back in the order of the batches, and handed
to whom they belong. What is wrong with one shard's segments is that shard's error alone.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Thread

import numpy as np

from emolake.models.protocol import EmotionModel
from emolake.models.runtimes.devices import is_device_lost, is_out_of_memory, lost_message
from emolake.models.runtimes.replay import Recorder
from emolake.models.runtimes.staging import BatchStage, Handed, Lane
from emolake.pipeline.length_buckets import Batch, LengthBuckets
from emolake.tasks.classify import (
    ModelError,
    Scores,
    no_room,
    not_finite,
    read_prediction,
    release_cached_memory,
)

# Batches under way, the oldest first; of one that failed there is nothing to collect.
Flying = deque[tuple["Batch[Ticket]", Handed | None]]


class DeviceLostError(ModelError):
    """The device failed while it was at work, and is of no more use to this process."""


class Ticket:
    """A segment on its way through the device, and at last its scores or an error."""

    __slots__ = ("error", "length", "name", "number", "owner", "scores", "wave")

    def __init__(self, owner: "Client", number: int, wave: np.ndarray, name: str) -> None:
        self.owner, self.number, self.length, self.name = owner, number, len(wave), name
        self.wave: np.ndarray | None = wave
        self.scores: Scores | None = None
        self.error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether there are scores or an error."""
        return self.scores is not None or self.error is not None


class Client:
    """A shard, or whoever else has segments scored; used by one thread."""

    def __init__(self, device: "DeviceThread") -> None:
        self._device = device
        self.pending: dict[int, Ticket] = {}  # not yet given to the device; guarded by the device's condition
        self.wanted: Ticket | None = None
        self.has_ended = False
        self.closed = False

    def submit(self, wave: np.ndarray, name: str) -> Ticket:
        """Let a segment be scored; `name` is what errors call it. Its samples must not change until it is done.

        Raises:
            ModelError: the device is lost.
        """
        return self._device._add(self, wave, name)

    def end(self) -> None:
        """Say that no more segments come, so that nothing is waited for to fill a batch with."""
        self._device._end(self)

    def scores(self, ticket: Ticket) -> Scores:
        """Wait for a segment's scores.

        Raises:
            Exception: what went wrong with it: a ModelError, or what the model raised.
        """
        lost = self._device._wait(self, ticket)
        if ticket.error is not None:
            raise ticket.error
        if ticket.scores is None:
            raise DeviceLostError(lost)  # it was in the batch that the device's thread ended with
        return ticket.scores


class DeviceThread:
    """See the module; it runs while it has clients."""

    def __init__(
        self,
        model: EmotionModel,
        *,
        batch_seconds: float,
        in_flight: int,
        whole_s: float | None = None,
        lane: Lane | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Serve a model.

        Args:
            model: its `batching` says which segments may share a batch; in another precision than fp32 their shapes
                are fixed (see `LengthBuckets`).
            batch_seconds: seconds of audio, padding included, that make a batch.
            in_flight: batches that are under way at once.
            whole_s: length of a full window, the commonest; None where none is.
            lane: the way to the device; its own when left out.
            recorder: what records the forward pass of full batches (see `emolake.models.runtimes.replay`); nothing is
                recorded when left out.
        """
        rate = model.sampling_rate
        self.model = model
        self._lane, self._recorder, self._in_flight = lane, recorder, in_flight
        self._changed = Condition()
        self._buckets: LengthBuckets[Ticket] = LengthBuckets(
            model.batching,
            batch_samples=int(batch_seconds * rate),
            step=rate,
            fixed=model.precision != "fp32",
            whole=None if whole_s is None else round(whole_s * rate),
        )
        self._clients: list[Client] = []
        self._thread: Thread | None = None
        self._stage: BatchStage | None = None
        self._number = 0
        self._lost: str | None = None

    @property
    def batch_samples(self) -> int:
        """Samples of a batch, padding included; less than was asked for where the device had no room for that."""
        return self._buckets.batch_samples

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Give a client; what it still waits for at the end is dropped."""
        client = Client(self)
        with self._changed:
            self._clients.append(client)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="device", daemon=True)
                self._thread.start()
        try:
            yield client
        finally:
            with self._changed:
                client.closed = True
                self._clients.remove(client)
                for ticket in client.pending.values():
                    self._buckets.remove(ticket)
                client.pending.clear()
                self._changed.notify_all()
                thread = self._thread
                self._changed.wait_for(lambda: self._clients or thread is None or self._thread is not thread)
                has_ended = self._thread is not thread
            if has_ended and thread is not None:
                thread.join()  # a process that ends beside it would be aborted

    def _add(self, client: Client, wave: np.ndarray, name: str) -> Ticket:
        with self._changed:
            if self._lost is not None:
                raise DeviceLostError(self._lost)
            self._number += 1
            ticket = Ticket(client, self._number, wave, name)
            client.pending[ticket.number] = ticket
            self._buckets.add(ticket)
            self._changed.notify_all()
            return ticket

    def _end(self, client: Client) -> None:
        with self._changed:
            client.has_ended = True
            self._changed.notify_all()

    def _wait(self, client: Client, ticket: Ticket) -> str | None:
        """Wait until a segment is done, or the device is lost; return how it was lost, if it was."""
        with self._changed:
            client.wanted = ticket
            self._changed.notify_all()
            self._changed.wait_for(lambda: ticket.is_done or self._lost is not None)
            client.wanted = None
            return self._lost

    def _run(self) -> None:
        """Hand batches over and read them back, until the last client has gone."""
        flying = Flying()
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: flying or self._has_batch() or not self._clients)
                    batch = self._next_batch() if len(flying) < self._in_flight else None
                    if batch is None and not flying:
                        if not self._clients:
                            self._thread = None
                            self._changed.notify_all()
                            return
                        continue
                if batch is None:
                    self._land(flying)
                else:
                    self._launch(batch, flying)
        except BaseException as error:
            with self._changed:
                self._thread = None
                self._lost = f"the thread of {self.model.device} ended: {error!r}"
                self._drop_all(flying)
                self._changed.notify_all()
            raise

    def _has_batch(self) -> bool:
        """Return whether `_next_batch` has one; the condition is held."""
        return any(client.has_ended and client.pending for client in self._clients) or any(
            client.wanted is not None and client.wanted.number in client.pending for client in self._clients
        ) or self._buckets.has_full  # fmt: skip

    def _next_batch(self) -> Batch[Ticket] | None:
        """Take the batch that goes next, if there is one; the condition is held."""
        batch = self._buckets.full()
        if batch is None and (waited := self._waited_for()) is not None:
            batch = self._buckets.around(waited)
        if batch is not None:
            for ticket in batch.members:
                del ticket.owner.pending[ticket.number]
        return batch

    def _waited_for(self) -> Ticket | None:
        """Return the segment that somebody has waited for longest, and that no full batch will take along."""
        wanted = [
            client.wanted
            for client in self._clients
            if client.wanted is not None and client.wanted.number in client.pending
        ]
        last = [
            next(iter(client.pending.values()))
            for client in self._clients
            if client.has_ended and client.pending
        ]
        return min([*wanted, *last], key=lambda ticket: ticket.number, default=None)

    def _launch(self, batch: Batch[Ticket], flying: Flying) -> None:
        try:
            flying.append((batch, self._submit(batch)))
        except Exception as error:  # noqa: BLE001 - it is raised again where the segments are waited for
            self._failed(batch, error, flying)

    def _land(self, flying: Flying) -> None:
        """Read the oldest batch back."""
        batch, handed = flying.popleft()
        assert handed is not None
        try:
            self._resolve(batch, handed)
        except Exception as error:  # noqa: BLE001 - it is raised again where the segments are waited for
            self._failed(batch, error, flying)

    def _submit(self, batch: Batch[Ticket]) -> Handed:
        if self._stage is None:
            self._stage = BatchStage(self.model, lane=self._lane, recorder=self._recorder)
        waves = [ticket.wave for ticket in batch.members if ticket.wave is not None]
        return self._stage.submit(waves, rows=batch.rows, samples=batch.samples)

    def _resolve(self, batch: Batch[Ticket], handed: Handed) -> None:
        """Hand out the answers of a batch."""
        scores, broken = read_prediction(handed.collect(), self.model, batch.rows)
        errors: dict[Client, ModelError] = {}
        for owner in {ticket.owner for ticket in batch.members}:
            for what in ("affect", "logits"):
                named = [
                    ticket.name
                    for ticket, found in zip(batch.members, broken, strict=False)
                    if found == what and ticket.owner is owner
                ]
                if named:
                    errors[owner] = not_finite(what, named)
        with self._changed:
            for ticket, found, is_broken in zip(batch.members, scores, broken, strict=False):
                ticket.wave = None
                if is_broken is None:
                    ticket.scores = found
                else:
                    ticket.error = errors[ticket.owner]
            self._changed.notify_all()

    def _failed(self, batch: Batch[Ticket], error: Exception, flying: Flying) -> None:
        """Do what is to be done where a batch was not computed: a smaller one, or an error for whom it concerns."""
        if is_out_of_memory(error):
            self._out_of_memory(batch, flying)
        elif is_device_lost(error):
            with self._changed:
                self._lost = lost_message(error, self.model.device)
                flying.append((batch, None))
                self._drop_all(flying)
        else:
            self._by_owner(batch, error)

    def _out_of_memory(self, batch: Batch[Ticket], flying: Flying) -> None:
        """Make batches smaller for good; a segment by itself is tried once more with nothing beside it."""
        while flying:
            self._land(flying)
        if self._stage is not None:
            self._stage.make_room()
        try:
            release_cached_memory()
        except Exception as error:  # noqa: BLE001 - it is raised again where the segments are waited for
            if not is_out_of_memory(error):
                self._failed(batch, error, flying)
                return
        if batch.rows > 1:
            with self._changed:
                self._buckets.lower(batch)
                for ticket in batch.members:
                    if not ticket.owner.closed:
                        ticket.owner.pending[ticket.number] = ticket
                        self._buckets.add(ticket)
            return
        try:
            self._resolve(batch, self._submit(batch))
        except Exception as again:  # noqa: BLE001 - it is raised again where the segment is waited for
            if not is_out_of_memory(again):
                self._failed(batch, again, flying)
                return
            (ticket,) = batch.members
            with self._changed:
                self._refuse(batch.members, no_room(self.model, ticket.length, ticket.name))

    def _by_owner(self, batch: Batch[Ticket], error: Exception) -> None:
        """Let each client's part of a batch run by itself, where several share one, so that one fails alone."""
        owners = dict.fromkeys(ticket.owner for ticket in batch.members)
        if len(owners) == 1:
            with self._changed:
                self._refuse(batch.members, error)
            return
        for owner in owners:
            own = [ticket for ticket in batch.members if ticket.owner is owner]
            self._alone(Batch(own, batch.rows, batch.samples))

    def _alone(self, batch: Batch[Ticket]) -> None:
        try:
            self._resolve(batch, self._submit(batch))
        except Exception as error:  # noqa: BLE001 - it is raised again where the segments are waited for
            self._failed(batch, error, deque())

    def _drop_all(self, flying: Flying) -> None:
        """Refuse everything that is under way or waits, of a device that is lost; the condition is held."""
        assert self._lost is not None
        dropped = [ticket for batch, _ in flying for ticket in batch.members]
        flying.clear()
        for client in self._clients:
            for ticket in client.pending.values():
                self._buckets.remove(ticket)
            dropped += client.pending.values()
            client.pending.clear()
        for ticket in dropped:
            self._refuse(
                [ticket], DeviceLostError(self._lost)
            )  # each its own: they are raised in several threads

    def _refuse(self, tickets: Sequence[Ticket], error: Exception) -> None:
        """Let an error be raised where these are waited for; the condition is held."""
        for ticket in tickets:
            ticket.error, ticket.wave = error, None
        self._changed.notify_all()
