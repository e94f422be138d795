"""How a number's last four digits decide its result.

The simulated message centre and `simulator://` share this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workers.smpp.pdu import Status


@dataclass(frozen=True, slots=True)
class Ending:
    """What happens to a message to a number that ends in `digits`."""

    digits: str
    meaning: str
    status: int = Status.ESME_ROK
    """The command_status of submit_sm_resp, each time."""
    first_status: int = Status.ESME_ROK
    """The command_status the first time only."""
    stats: tuple[str, ...] = ("DELIVRD",)
    """The `stat:` of its receipts, one after the other; none means silence."""
    err: str = "000"
    answered: bool = True
    """Whether submit_sm_resp comes at all."""
    disconnects: bool = False
    """Whether the connection is dropped in place of the answer."""


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
