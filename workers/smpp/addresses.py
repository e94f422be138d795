"""The source and destination addresses of submit_sm. Pure."""

from __future__ import annotations

from typing import Final

from workers.smpp.alphabets import Unencodable
from workers.smpp.pdu import Address, Status
from workers.smpp.submit_options import SubmitOptions

SHORT_CODE_DIGITS: Final = 8
"""A sender of digits up to this length is a short code; a longer one is an international number."""

NO_ADDRESS: Final = Address(0, 0, "")


def source_address(sender: str, options: SubmitOptions) -> Address:
    """Derive type of number and numbering plan (SMPP 3.4, 5.2.5, 5.2.6) from what the sender looks like.

    Digits: up to 8 a short code (network specific), more or a leading plus an international number. Anything
    else is alphanumeric. What the options set replaces what was derived. Raises `Unencodable` if it cannot be
    a source address at all.
    """
    derived = _derived(sender)
    if not sender:
        return derived
    ton = derived.ton if options.source_ton is None else options.source_ton
    npi = derived.npi if options.source_npi is None else options.source_npi
    return Address(ton, npi, derived.digits)


def _derived(sender: str) -> Address:
    if not sender:
        return NO_ADDRESS
    digits = sender.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        if len(digits) > 20:
            raise Unencodable(Status.ESME_RINVSRCADR, "a sender has at most 20 digits")
        if digits == sender and len(digits) <= SHORT_CODE_DIGITS:
            return Address(3, 0, digits)
        return Address(1, 1, digits)
    if len(sender) > 11 or not sender.isascii() or not sender.isprintable():
        raise Unencodable(
            Status.ESME_RINVSRCADR, "an alphanumeric sender has at most 11 printable ASCII characters"
        )
    return Address(5, 0, sender)


class Destinations:
    """Writes destination addresses, of one type of number, plan and prefix."""

    def __init__(self, options: SubmitOptions) -> None:
        self._before = bytes((options.dest_ton, options.dest_npi)) + options.dest_prefix.encode("ascii")

    def encode(self, number: str) -> bytes:
        """Return the three fields for an E.164 number. Raises `Unencodable` if it is none."""
        digits = number.removeprefix("+")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
            raise Unencodable(Status.ESME_RINVDSTADR, "a destination is E.164: up to 15 digits behind a plus")
        return self._before + digits.encode() + b"\0"
