"""How a delivery receipt is written: the text of Appendix B in any dialect."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from string import Formatter
from typing import Final

STANDARD_TEXT: Final = (
    "id:{id} sub:001 dlvrd:{dlvrd} submit date:{submitted:12} done date:{done:12} stat:{stat} err:{err} text:"
)
DATES: Final = {"10": "%y%m%d%H%M", "12": "%y%m%d%H%M%S", "14": "%Y%m%d%H%M%S"}
"""By the number of digits asked for."""
FIELDS: Final = ("id", "dlvrd", "submitted", "done", "stat", "err", "text")


class ReceiptForm(Enum):
    """Where a receipt says what it is about."""

    BOTH = "both"
    TEXT = "text"
    """In the short message alone."""
    TLV = "tlv"
    """In receipted_message_id and message_state alone."""


class ReceiptText:
    """A receipt's text, by a template with the FIELDS in braces; `{done:10}` is a date of 10 digits."""

    def __init__(self, template: str) -> None:
        """Read a template. Raises ValueError."""
        self._pieces = [
            (literal, field, spec or "") for literal, field, spec, _ in Formatter().parse(template)
        ]
        for _, field, spec in self._pieces:
            if field is not None and field not in FIELDS:
                raise ValueError(f"{{{field}}} is not one of {', '.join(FIELDS)}")
            if spec and (field not in ("submitted", "done") or spec not in DATES):
                raise ValueError(f"{{{field}:{spec}}}: only submitted and done are {', '.join(DATES)} digits")
        self.quotes = any(field == "text" for _, field, _ in self._pieces)
        """Whether it says what the message said."""
        # All but the id is the same for the many messages of a second.
        self._around_id = lru_cache(maxsize=256)(self._write_around_id)

    def write(self, message_id: str, stat: str, err: str, submitted: int, done: int, text: str) -> str:
        """Return the text; the dates are in seconds since 1970, and written in UTC."""
        return message_id.join(self._around_id(stat, err, submitted, done, text))

    def _write_around_id(self, stat: str, err: str, submitted: int, done: int, text: str) -> tuple[str, ...]:
        fields = {
            "dlvrd": "001" if stat == "DELIVRD" else "000",
            "stat": stat,
            "err": err,
            "text": text,
        }
        dates = {"submitted": submitted, "done": done}
        pieces = [""]
        for literal, field, spec in self._pieces:
            pieces[-1] += literal
            if field == "id":
                pieces.append("")
            elif field in dates:
                moment = datetime.fromtimestamp(dates[field], UTC)
                pieces[-1] += moment.strftime(DATES[spec or "12"])
            elif field is not None:
                pieces[-1] += fields[field]
        return tuple(pieces)
