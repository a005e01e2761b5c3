"""The key pattern: which day a key belongs to, and which prefixes hold the keys of one day.

`{date:%Y/%m/%d}` and `{time:%H%M%S}` hold strftime directives, `{unix:s}` and `{unix:ms}` are times since 1970,
`{**}` is any number of folders; every other name becomes a dimension. Several patterns are tried in their order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from emolake.errors import ConfigurationError
from emolake.source.form import DayPrefix, KeyForm, MatchedKey


class KeyPattern:
    """One or several forms of object keys; a key is read by the first that it matches.

    >>> pattern = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", ZoneInfo("Europe/Berlin"))
    >>> pattern.match("2026/11/20/oslo/call 1.wav").dimensions
    {'site': 'oslo', 'call_id': 'call 1', 'ext': 'wav'}

    Args:
        text: the pattern, or several.
        timezone: the zone of local days.
        key_timezone: the zone of dates and times in keys that do not say their own; that of local days when left out.
        undated: whether a form may be without a date.

    Raises:
        ConfigurationError: a pattern is wrong; the message says what it lacks.
    """

    def __init__(
        self,
        text: str | Sequence[str],
        timezone: ZoneInfo,
        key_timezone: ZoneInfo | None = None,
        *,
        undated: bool = False,
    ) -> None:
        texts = [text] if isinstance(text, str) else list(text)
        if not texts:
            raise ConfigurationError("source.pattern is an empty list; it needs one pattern at least")
        self._forms = [KeyForm(each, timezone, key_timezone or timezone, undated=undated) for each in texts]
        self.text = ", ".join(texts)
        self.dimensions = tuple(dict.fromkeys(name for form in self._forms for name in form.dimensions))

    @property
    def is_undated(self) -> bool:
        """Whether a form is without a date."""
        return any(not form.dated for form in self._forms)

    @property
    def says_zone(self) -> bool:
        """Whether every key with a time says itself which zone it is in."""
        timed = [form for form in self._forms if form.is_moment]
        return bool(timed) and all(form.says_zone for form in timed)

    @property
    def notes(self) -> list[str]:
        """What who plans by these patterns should know: what is listed in vain, and days that may be a zone's off."""
        notes = [form.cost for form in self._forms if form.cost is not None]
        notes += [
            f"{form.text!r} has no time: its dates are taken as they are, although keys are in {form.key_timezone.key} "
            f"and days in {form.timezone.key}"
            for form in self._forms
            if form.dated and not form.is_moment and form.key_timezone.key != form.timezone.key
        ]
        return notes

    def match(self, key: str) -> MatchedKey | None:
        """Return what the key says, or None when it matches no form or holds no real date."""
        for form in self._forms:
            if (matched := form.match(key)) is not None:
                return matched
        return None

    def day_prefixes(self, day: date, list_prefixes: Callable[[str], Iterable[str]]) -> Iterator[DayPrefix]:
        """Yield the prefixes that together hold every key of a local day, each key below one of them, in order.

        Args:
            day: the local calendar day.
            list_prefixes: gives the "folders" (ending in "/") directly under a prefix.
        """
        neighbours: dict[str, bool] = {}
        for form in self._forms:
            for each in form.prefixes(day, list_prefixes):
                neighbours[each.prefix] = neighbours.get(each.prefix, True) and each.neighbour
        above: DayPrefix | None = None
        for prefix in sorted(neighbours):
            if above is not None and prefix.startswith(above.prefix):
                above = DayPrefix(above.prefix, above.neighbour and neighbours[prefix])
                continue
            if above is not None:
                yield above
            above = DayPrefix(prefix, neighbours[prefix])
        if above is not None:
            yield above
