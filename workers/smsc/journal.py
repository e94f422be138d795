"""What reached the simulated message centre, one JSON line an event."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from workers.smpp.pdu import ShortMessage

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """Appends to a file. What `write` has returned from is in the file, also after a kill -9 of this process.

    Events, each with `time` (seconds since 1970) and `system_id`:
    submit_sm    destination, source, their ton and npi, data_coding, esm_class, registered_delivery,
                 short_message (hex), sequence_number, command_status, message_id ("" if refused)
    receipt      message_id, destination, stat, err, attempt (1 is the first)
    acknowledged message_id, command_status: how the receipt was answered
    """

    def __init__(self, path: Path | None) -> None:
        """Open the file, made if need be. Raises OSError. Without a path everything is forgotten."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else None
        self._lines: list[str] = []

    def submit(
        self, system_id: str, message: ShortMessage, sequence: int, status: int, message_id: str
    ) -> None:
        """Note a submit_sm, answered with `status`."""
        self._note(
            event="submit_sm",
            system_id=system_id,
            destination=message.destination.digits,
            destination_ton=message.destination.ton,
            destination_npi=message.destination.npi,
            source=message.source.digits,
            source_ton=message.source.ton,
            source_npi=message.source.npi,
            data_coding=message.data_coding,
            esm_class=message.esm_class,
            registered_delivery=message.registered_delivery,
            short_message=message.payload.hex(),
            sequence_number=sequence,
            command_status=status,
            message_id=message_id,
        )

    def receipt(
        self, system_id: str, message_id: str, destination: str, stat: str, err: str, attempt: int
    ) -> None:
        """Note a receipt that is sent."""
        self._note(
            event="receipt",
            system_id=system_id,
            message_id=message_id,
            destination=destination,
            stat=stat,
            err=err,
            attempt=attempt,
        )

    def acknowledged(self, system_id: str, message_id: str, status: int) -> None:
        """Note how a receipt was answered."""
        self._note(event="acknowledged", system_id=system_id, message_id=message_id, command_status=status)

    def _note(self, **event: object) -> None:
        if self._file is not None:
            event["time"] = time.time()
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
