"""How a gateway wants its submit_sm: addresses, alphabet, long texts, and what else carriers differ in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Alphabet(Enum):
    """How a text within the GSM 7-bit alphabet travels to the message centre. Any other text is UCS-2."""

    GSM7 = "gsm7"
    """One octet a septet, which is what most centres mean by their default alphabet."""
    GSM7_PACKED = "gsm7-packed"
    """Eight septets in seven octets, as on the air (3GPP TS 23.038, 6.1.2.1)."""
    LATIN_1 = "latin1"
    """ISO 8859-1, for a centre that turns it into GSM 7-bit itself; see `workers.smpp.alphabets`."""


class LongText(Enum):
    """How a text of several segments travels."""

    UDH = "udh"
    """A submit_sm a segment, with a concatenation header of an 8-bit reference in the text."""
    SAR = "sar"
    """A submit_sm a segment, with a 16-bit reference in optional parameters; the centre writes the header."""
    PAYLOAD = "payload"
    """One submit_sm with the whole text in message_payload; the centre cuts it. It has one id."""


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """What one gateway's submit_sm PDUs have in common."""

    source_ton: int | None = None
    """Type of number of every sender (SMPP 3.4, 5.2.5); None: derived from what the sender looks like."""
    source_npi: int | None = None
    """Numbering plan of every sender (SMPP 3.4, 5.2.6); None: derived likewise."""
    dest_ton: int = 1
    dest_npi: int = 1
    dest_prefix: str = ""
    """What goes before the calling code."""
    service_type: str = ""
    validity: int = 0
    """Seconds after which the centre gives up on delivering; 0: the centre's own default."""
    alphabet: Alphabet = Alphabet.GSM7
    data_coding: int | None = None
    """data_coding of texts that travel in `alphabet`; None: 3 for Latin-1, else 0. UCS-2 is always 8."""
    long_text: LongText = LongText.UDH
    user_message_reference: bool = True
    """Whether each submission's references go along, for receipts that echo them."""
