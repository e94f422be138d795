"""What reached the simulated message centre, one JSON line an event."""

from __future__ import annotations

import json
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from workers.smpp import pdu
from workers.smpp.pdu import Command, ShortMessage
from workers.smpp.reply_text import reply_text
from workers.smpp.submit_options import Alphabet
from workers.smsc.parts import part_of

_encode = json.JSONEncoder(separators=(",", ":")).encode

KINDS: Final = {
    Command.BIND_TRANSMITTER: "transmitter",
    Command.BIND_RECEIVER: "receiver",
    Command.BIND_TRANSCEIVER: "transceiver",
}


class Journal:
    """Appends to a file. What `write` has returned from is in the file, also after a kill -9 of this process.

    Every event has `event`, `time` (seconds since 1970), `at` (seconds by the machine's monotonic clock, to
    measure rates by) and `system_id`. The help of `groupsms smsc` names the rest.
    """

    def __init__(self, path: Path | None) -> None:
        """Open the file, made if need be. Raises OSError. Without a path everything is forgotten."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else None
        self._lines: list[str] = []

    @property
    def keeps(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    def bind(self, system_id: str, command_id: int, connection: int, status: int) -> None:
        """Note how a bind was answered."""
        self._note(
            event="bind",
            system_id=system_id,
            kind=KINDS[Command(command_id)],
            connection=connection,
            command_status=status,
        )

    def unbind(self, system_id: str, kind: int, connection: int, by: str) -> None:
        """Note that the peer or this centre unbinds."""
        self._note(
            event="unbind", system_id=system_id, kind=KINDS[Command(kind)], connection=connection, by=by
        )

    def disconnect(self, system_id: str, kind: int, connection: int, reason: str) -> None:
        """Note the end of a connection that was bound."""
        self._note(
            event="disconnect",
            system_id=system_id,
            kind=KINDS[Command(kind)],
            connection=connection,
            reason=reason,
        )

    def submit(
        self,
        system_id: str,
        connection: int,
        message: ShortMessage,
        sequence: int,
        status: int,
        message_id: str,
        alphabet: Alphabet,
    ) -> None:
        """Note a submit_sm that comes to `status`, whether it will be answered or not."""
        if self._file is None:
            return
        part = part_of(message)
        self._note(
            event="submit_sm",
            system_id=system_id,
            connection=connection,
            destination=message.destination.digits,
            destination_ton=message.destination.ton,
            destination_npi=message.destination.npi,
            source=message.source.digits,
            source_ton=message.source.ton,
            source_npi=message.source.npi,
            data_coding=message.data_coding,
            esm_class=message.esm_class,
            registered_delivery=message.registered_delivery,
            validity_period=message.validity_period,
            short_message=message.payload.hex(),
            tlvs={f"0x{tag:04X}": value.hex() for tag, value in message.tlvs},
            text=_text(message.payload, message.esm_class, message.data_coding, alphabet),
            reference=part.reference,
            segments=part.total,
            segment=part.number,
            sequence_number=sequence,
            command_status=status,
            message_id=message_id,
        )

    def receipt(
        self,
        system_id: str,
        message_id: str,
        written_id: str,
        destination: str,
        stat: str,
        err: str,
        attempt: int,
        *,
        stray: bool,
    ) -> None:
        """Note a receipt that is sent."""
        self._note(
            event="receipt",
            system_id=system_id,
            message_id=message_id,
            written_id=written_id,
            destination=destination,
            stat=stat,
            err=err,
            attempt=attempt,
            stray=stray,
        )

    def reply(self, system_id: str, source: str, destination: str, text: str, attempt: int) -> None:
        """Note a phone's reply that is sent."""
        self._note(
            event="reply",
            system_id=system_id,
            source=source,
            destination=destination,
            text=text,
            attempt=attempt,
        )

    def acknowledged(self, system_id: str, message_id: str, status: int) -> None:
        """Note how a receipt was answered; one without a message id is a reply."""
        kind = "acknowledged" if message_id else "reply_acknowledged"
        self._note(event=kind, system_id=system_id, message_id=message_id, command_status=status)

    def step(self, what: str) -> None:
        """Note that the behaviour changed."""
        self._note(event="step", system_id="", what=what)

    def _note(self, **event: object) -> None:
        if self._file is not None:
            event["time"] = time.time()
            event["at"] = time.monotonic()
            self._lines.append(_encode(event))

    def write(self) -> None:
        """Put what was noted into the file."""
        if self._file is not None and self._lines:
            left = ("\n".join(self._lines) + "\n").encode()
            self._lines.clear()
            while left:
                left = left[os.write(self._file, left) :]

    def close(self) -> None:
        """Write the rest and close."""
        self.write()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _text(payload: bytes, esm_class: int, data_coding: int, alphabet: Alphabet) -> str:
    """The words, kept for the next number: behind their header they are the same."""
    header = payload[: 1 + payload[0]] if esm_class & pdu.UDH_INDICATOR and payload else b""
    return _words(len(header), payload[len(header) :], data_coding, alphabet)


@lru_cache(maxsize=1024)
def _words(header: int, octets: bytes, data_coding: int, alphabet: Alphabet) -> str:
    in_header = bytes((header - 1,)) + bytes(header - 1) if header else b""
    nobody = pdu.Address(0, 0, "")
    esm_class = pdu.UDH_INDICATOR if header else 0
    return reply_text(ShortMessage(nobody, nobody, in_header + octets, esm_class, data_coding), alphabet)
