"""Who speaks when, and what the conversation did, from voice activity alone: talk, silence, overlap, turns and pauses.

Definitions:
    Talk: stretches of speech, with short silences bridged and without clicks; see `emolake.audio.talk`.
    Pause, gap, overlap: as of Heldner & Edlund 2010, Pauses, gaps and overlaps in conversations, Journal of Phonetics
        38. A silence of all is a pause where the same one speaks on, and a gap where another one does. An overlap is
        the time in which two or more speak.
    Turn: whoever speaks alone has the turn, from the onset of that stretch of speech, until another one speaks alone.
    Response: how long after the end of the other one's speech a turn begins; below 0 where it began in overlap (the
        floor transfer offset of Levinson & Torreira 2015, Timing in turn-taking, Frontiers in Psychology 6).
    Interruption: a turn that began while the one before was being spoken, in an overlap of 120 ms or more, which is
        what listeners notice (Heldner 2011, Detection thresholds for gaps, overlaps, and no-gap-no-overlaps, Journal of
        the Acoustical Society of America 130).

Speech is told from silence in chunks of 32 ms, and everything here is a whole number of them, but for the end. There is
no rate of speech: docs/mono_calls.md has the error of counting syllables, which follows the emotion.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import numpy as np

from emolake.audio.talk import Talk
from emolake.audio.voice_activity import SAMPLING_RATE

_NOTICED = round(0.12 * SAMPLING_RATE)


@dataclass(frozen=True)
class ChannelDynamics:
    """What one channel did in a conversation; the columns of `recording_dynamics`."""

    channel: int
    talk_s: float
    talk_share: float | None
    silence_s: float
    overlap_s: float | None
    interruptions: int | None
    turns: int | None
    mean_turn_s: float | None
    response_s: float | None
    pauses: int
    mean_pause_s: float | None
    longest_pause_s: float | None
    speech_level_dbfs: float | None


@dataclass(frozen=True)
class Dynamics:
    """What the conversation of one recording did, by channel."""

    channels: tuple[ChannelDynamics, ...] = ()


@dataclass
class _Spans:
    """How many stretches of time there were, how many samples together, and in the longest."""

    number: int = 0
    samples: int = 0
    longest: int = 0

    def add(self, other: "_Spans") -> None:
        self.number += other.number
        self.samples += other.samples
        self.longest = max(self.longest, other.longest)

    def add_one(self, samples: int) -> None:
        self.add(_Spans(1, samples, samples))

    @property
    def mean_s(self) -> float | None:
        return self.samples / self.number / SAMPLING_RATE if self.number else None

    @property
    def longest_s(self) -> float | None:
        return self.longest / SAMPLING_RATE if self.number else None


@dataclass
class _Party:
    """What one of a conversation has done so far; times in samples."""

    onset: int = 0
    """Where its latest stretch of speech began."""
    end: int = 0
    """Where it last stopped."""
    end_before: int = 0
    """Where it had last stopped when it began its latest stretch."""
    talk: int = 0
    overlap: int = 0
    interruptions: int = 0

    turns: _Spans = field(default_factory=_Spans)
    pauses: _Spans = field(default_factory=_Spans)
    responses: _Spans = field(default_factory=_Spans)


class _Floor:
    """The joint states of some channels, from who begins and who stops when."""

    def __init__(self, channels: Collection[int]) -> None:
        self.parties = {channel: _Party() for channel in channels}
        self.silence = 0
        self._active: set[int] = set()
        self._since = 0
        self._holder: int | None = None
        self._turn_start = 0
        self._silences = _Spans()  # since anyone last spoke alone: pauses, or gaps

    def change(self, at: int, begins: Collection[int], stops: Collection[int]) -> None:
        """Take what changes at a sample; samples come in order, each once."""
        self._account(at)
        for channel in stops:
            self._active.remove(channel)
            self.parties[channel].end = at
        for channel in begins:
            self._active.add(channel)
            party = self.parties[channel]
            party.onset, party.end_before = at, party.end
        if len(self._active) == 1:
            (alone,) = self._active
            self._speaks_alone(alone)

    def finish(self, at: int) -> None:
        """Take the end of the recording, at which nobody speaks any more."""
        self._account(at)
        self._end_turn()

    def _account(self, until: int) -> None:
        passed, self._since = until - self._since, until
        if not self._active:
            self.silence += passed
            if passed:
                self._silences.add_one(passed)
        for channel in self._active:
            self.parties[channel].talk += passed
            self.parties[channel].overlap += passed if len(self._active) > 1 else 0

    def _speaks_alone(self, channel: int) -> None:
        silences, self._silences = self._silences, _Spans()
        party = self.parties[channel]
        if channel == self._holder:
            party.pauses.add(silences)
            return
        if self._holder is not None:
            self._respond(party, self.parties[self._holder])
        self._end_turn()
        self._holder, self._turn_start = channel, party.onset

    def _respond(self, party: _Party, before: _Party) -> None:
        # Who began at the same moment, and stopped first, had ended before that.
        was_speaking = before.onset < party.onset
        offset = party.onset - (before.end if was_speaking else before.end_before)
        party.responses.add_one(offset)
        party.interruptions += was_speaking and -offset >= _NOTICED

    def _end_turn(self) -> None:
        if self._holder is not None:
            holder = self.parties[self._holder]
            holder.turns.add_one(holder.end - self._turn_start)


class ConversationMeter:
    """Measures one recording as the voice activity of its channels passes; memory does not grow with its length."""

    def __init__(self, threshold: float) -> None:
        """Take the probability from which a chunk is speech."""
        self._threshold = threshold
        self._talks: dict[int, Talk] = {}
        self._together = _Floor(())
        self._alone: dict[int, _Floor] = {}
        # Changes that a channel which is behind may yet precede: sample, channel, whether it begins.
        self._waiting: list[tuple[int, int, bool]] = []
        self._lengths: dict[int, int] = {}

    def begin(self, channels: Sequence[int]) -> None:
        """Take the channels that are measured."""
        self._talks = {channel: Talk(self._threshold) for channel in sorted(channels)}
        self._together = _Floor(channels)
        self._alone = {channel: _Floor([channel]) for channel in channels}

    def push(self, channel: int, probabilities: np.ndarray, samples: np.ndarray) -> None:
        """Take a channel's next samples [n] float32, and the probabilities of the chunks that they complete."""
        self._note(channel, self._talks[channel].push(probabilities, samples))
        self._advance(min(talk.certain_until for talk in self._talks.values()))

    def finish(self, channel: int, probabilities: np.ndarray) -> None:
        """Take the end of a channel: the probability of the chunk that it cut short, if any."""
        length, changes = self._talks[channel].finish(probabilities)
        self._note(channel, changes)
        self._lengths[channel] = length
        self._alone[channel].finish(length)
        if len(self._lengths) == len(self._talks):
            end = max(self._lengths.values())
            self._advance(end + 1)
            self._together.finish(end)

    def dynamics(self, voices: Sequence[int] = ()) -> Dynamics:
        """Return what each channel did; of channels that carry the same voices only the first.

        What takes two to tell (shares, overlaps, turns, responses) is None where fewer than two channels are measured,
        and where two carry the same voices.

        Args:
            voices: for each channel of the recording the first one that carries the same signal; each its own where
                it is left out.
        """
        of = {channel: voices[channel] if channel < len(voices) else channel for channel in self._talks}
        first = {voice: channel for channel, voice in reversed(of.items())}
        if 1 < len(first) == len(of):
            parties = self._together.parties
            talked = sum(party.talk for party in parties.values())
            return Dynamics(
                tuple(self._row(channel, parties[channel], self._together, talked) for channel in of)
            )
        alone = {channel: self._alone[channel] for channel in sorted(first.values())}
        # Of one signal its first channel says when nobody speaks: a fainter copy may say a little else.
        everyone = next(iter(alone.values())) if len(alone) == 1 else self._together
        return Dynamics(
            tuple(self._row(channel, floor.parties[channel], everyone) for channel, floor in alone.items())
        )

    def _row(
        self, channel: int, party: _Party, everyone: _Floor, talked: int | None = None
    ) -> ChannelDynamics:
        is_told_apart = talked is not None
        return ChannelDynamics(
            channel=channel,
            talk_s=party.talk / SAMPLING_RATE,
            talk_share=party.talk / talked if talked else None,
            silence_s=everyone.silence / SAMPLING_RATE,
            overlap_s=party.overlap / SAMPLING_RATE if is_told_apart else None,
            interruptions=party.interruptions if is_told_apart else None,
            turns=party.turns.number if is_told_apart else None,
            mean_turn_s=party.turns.mean_s if is_told_apart else None,
            response_s=party.responses.mean_s if is_told_apart else None,
            pauses=party.pauses.number,
            mean_pause_s=party.pauses.mean_s,
            longest_pause_s=party.pauses.longest_s,
            speech_level_dbfs=self._talks[channel].level_dbfs,
        )

    def _note(self, channel: int, changes: Sequence[tuple[int, bool]]) -> None:
        for at, begins in changes:
            self._waiting.append((at, channel, begins))
            mine = [channel]
            self._alone[channel].change(at, mine if begins else [], [] if begins else mine)

    def _advance(self, until: int) -> None:
        """Account for all changes before a sample, which are known of every channel."""
        if not self._waiting:
            return
        known = sorted(each for each in self._waiting if each[0] < until)
        self._waiting = [each for each in self._waiting if each[0] >= until]
        for at, changes in groupby(known, key=itemgetter(0)):
            both = list(changes)
            self._together.change(
                at,
                [channel for _, channel, begins in both if begins],
                [channel for _, channel, begins in both if not begins],
            )
