"""How a number's last four digits decide its result.

The simulated message centre and `simulator://` share this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workers.smpp.pdu import Status

HOURS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What happens to a message to a number that ends in `digits`. Times are in seconds."""

    digits: str
    meaning: str
    status: int = Status.ESME_ROK
    """The command_status of submit_sm_resp, each time."""
    first_status: int = Status.ESME_ROK
    """The command_status the first time only."""
    last_status: int = Status.ESME_ROK
    """The command_status of the last segment of a long message."""
    stats: tuple[str, ...] = ("DELIVRD",)
    """The `stat:` of its receipts, one after the other; none means silence."""
    err: str = "000"
    last_stats: tuple[str, ...] | None = None
    """The `stat:` of the receipts of the last segment of a long message, if they differ."""
    once: bool = False
    """Whether a long message gets one receipt only, with the id of its last segment."""
    receipt_delay: float = 0.0
    """How much later than others its receipts come."""
    receipt_first: bool = False
    """Whether its receipt comes at once, before submit_sm_resp."""
    reply: str = ""
    """What the phone answers after the receipts."""
    answered: bool = True
    """Whether submit_sm_resp comes at all."""
    response_delay: float = 0.0
    """How much later than others submit_sm_resp comes."""
    disconnects: bool = False
    """Whether the connection is dropped in place of the answer."""

    def status_of(self, *, last_of_several: bool) -> int:
        """Return the command_status of a segment, once nothing turns it away for the moment."""
        return self.status or (self.last_status if last_of_several else Status.ESME_ROK)

    def stats_of(self, *, last_of_several: bool) -> tuple[str, ...]:
        """Return the `stat:` of a segment's receipts."""
        return self.last_stats if last_of_several and self.last_stats is not None else self.stats


DELIVERED: Final = Ending("", "delivered")

_ALL: Final = (
    Ending("0001", "UNDELIV err:001", stats=("UNDELIV",), err="001"),
    Ending("0002", "EXPIRED err:027", stats=("EXPIRED",), err="027"),
    Ending("0003", "REJECTD err:008", stats=("REJECTD",), err="008"),
    Ending("0004", "DELETED err:005", stats=("DELETED",), err="005"),
    Ending("0005", "UNDELIV err:BLACK", stats=("UNDELIV",), err="BLACK"),
    Ending("0006", "UNDELIV err:MILIMIT", stats=("UNDELIV",), err="MILIMIT"),
    Ending("0007", "REJECTD err:KEYWORD", stats=("REJECTD",), err="KEYWORD"),
    Ending("0008", "accepted, no receipt ever", stats=()),
    Ending("0009", "refused at submit: ESME_RINVDSTADR 0x0000000B", status=Status.ESME_RINVDSTADR),
    Ending("0010", "refused at submit: a vendor's 0x00000410", status=0x410),
    Ending(
        "0011", "throttled the first time (0x00000058), then delivered", first_status=Status.ESME_RTHROTTLED
    ),
    Ending(
        "0012", "queue full the first time (0x00000014), then delivered", first_status=Status.ESME_RMSGQFUL
    ),
    Ending("0013", "ENROUTE, then DELIVRD", stats=("ENROUTE", "DELIVRD")),
    Ending("0014", "ACCEPTD, and nothing more", stats=("ACCEPTD",)),
    Ending("0015", "DELIVRD twice", stats=("DELIVRD", "DELIVRD")),
    Ending("0016", "DELIVRD, but 30 seconds later than others", receipt_delay=30),
    Ending("0017", "DELIVRD, but 5 minutes later than others", receipt_delay=300),
    Ending("0018", "EXPIRED err:027 after 72 hours", stats=("EXPIRED",), err="027", receipt_delay=72 * HOURS),
    Ending("0019", "submit_sm_resp comes 5 seconds late, then DELIVRD", response_delay=5),
    Ending(
        "0020", "DELIVRD at once, 0.2 seconds before submit_sm_resp", receipt_first=True, response_delay=0.2
    ),
    Ending("0021", 'DELIVRD, and the phone replies "STOP"', reply="STOP"),
    Ending("0022", 'DELIVRD, and the phone replies "hello"', reply="hello"),
    Ending("0023", "DELIVRD, but the last segment of a long message UNDELIV", last_stats=("UNDELIV",)),
    Ending(
        "0024",
        "the last segment of a long message refused at submit: ESME_RSUBMITFAIL 0x00000045",
        last_status=Status.ESME_RSUBMITFAIL,
    ),
    Ending("0025", "DELIVRD, one receipt for a long message, with its last segment's id", once=True),
    Ending("0026", "a vendor's own state: MK:0001 err:001", stats=("MK:0001",), err="001"),
    Ending("0027", "DELIVRD, then ENROUTE", stats=("DELIVRD", "ENROUTE")),
    Ending("0028", "refused at submit: ESME_RSYSERR 0x00000008", status=Status.ESME_RSYSERR),
    Ending("9901", "taken and delivered, but submit_sm is never answered", answered=False),
    Ending(
        "9902", "taken and delivered, but the connection is dropped at once", answered=False, disconnects=True
    ),
)
ENDINGS: Final = {ending.digits: ending for ending in _ALL}


def ending_of(number: str) -> Ending:
    """Return what will happen to a message to `number`: delivered, unless its ending says otherwise."""
    return ENDINGS.get(number[-4:], DELIVERED)


def describe_endings() -> str:
    """The table as text, one ending a line."""
    lines = [f"...{ending.digits}  {ending.meaning}" for ending in _ALL]
    return "\n".join([*lines, "any other  accepted, DELIVRD"])
