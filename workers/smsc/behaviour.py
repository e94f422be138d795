"""What the simulated message centre can be told: its flags, and what a step changes while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from workers.smpp.submit_options import Alphabet
from workers.smsc.receipt_form import STANDARD_TEXT, ReceiptForm


class IdForm(Enum):
    """How a message id is written."""

    HEX = "hex"
    HEX_UPPER = "hex-upper"
    DECIMAL = "decimal"

    def write(self, number: int) -> str:
        """Return the id as text."""
        return _FORMATS[self] % number


_FORMATS = {IdForm.HEX: "%x", IdForm.HEX_UPPER: "%X", IdForm.DECIMAL: "%d"}


class ReceiptsFor(Enum):
    """What gets a receipt."""

    SEGMENT = "segment"
    FIRST = "first"
    """A message, with the id of its first segment."""
    LAST = "last"
    """A message, with the id of its last segment."""


class Refusal(NamedTuple):
    """Every so many submit_sm, one is answered with a command_status."""

    every: int
    status: int


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the flags of the same names say. Times are in seconds; None turns a behaviour off."""

    system_id: str | None = None
    password: str | None = None
    max_binds: int | None = None
    idle_timeout: float | None = None
    unbind_every: float | None = None

    rate: int | None = None
    refuse_every: tuple[Refusal, ...] = ()
    response_delay: float = 0.0
    response_jitter: float = 0.0
    silent_every: int | None = None
    drop_every: int | None = None

    receipt_delay: float = 0.2
    receipt_jitter: float = 0.0
    receipt_first: bool = False
    receipt_copies: int = 1
    stray_every: int | None = None
    resend_after: float = 5.0
    receipt_window: int = 500

    ids: IdForm = IdForm.HEX
    receipt_ids: IdForm | None = None
    """None: as in submit_sm_resp."""
    receipts_for: ReceiptsFor = ReceiptsFor.SEGMENT
    receipt_form: ReceiptForm = ReceiptForm.BOTH
    receipt_text: str = STANDARD_TEXT
    receipt_ucs2: bool = False
    echo_reference: bool = False

    alphabet: Alphabet = Alphabet.GSM7
