"""An SMPP client for tests that writes octets and keeps what comes back."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.integration.message_centre import until
from workers.smpp import pdu
from workers.smpp.pdu import Address, Bind, Command, Frame, ShortMessage, Splitter, Status


class Esme:
    """A client that writes octets and keeps what comes back."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.received: list[Frame] = []
        self.gone = asyncio.Event()
        self._writer = writer

    def of(self, command_id: int) -> list[Frame]:
        """What came with this command_id."""
        return [frame for frame in self.received if frame.command_id == command_id]

    @property
    def delivered(self) -> list[ShortMessage]:
        """The receipts and replies that came."""
        return [ShortMessage.decode(frame.body) for frame in self.of(Command.DELIVER_SM)]

    @property
    def answered(self) -> list[int]:
        """The sequence numbers of the submit_sm_resp that came."""
        return [frame.sequence_number for frame in self.of(Command.SUBMIT_SM_RESP)]

    def write(self, *pdus: bytes) -> None:
        """Write them all in one."""
        self._writer.write(b"".join(pdus))

    async def answer(self, sequence: int) -> Frame:
        """Wait for the PDU of this sequence number."""
        await until(lambda: any(frame.sequence_number == sequence for frame in self.received))
        return next(frame for frame in self.received if frame.sequence_number == sequence)

    async def bind(self, command_id: int = Command.BIND_TRANSCEIVER, system_id: str = "groupsms") -> None:
        """Bind, and be let in."""
        self.write(pdu.encode(command_id, 0, 1, Bind(system_id, "secret").encode()))
        assert (await self.answer(1)).command_status == Status.ESME_ROK


@asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Esme]:
    """Connect to a message centre on loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    esme = Esme(writer)

    async def read() -> None:
        splitter = Splitter()
        try:
            while data := await reader.read(65536):
                esme.received.extend(splitter.feed(data))
        except ConnectionError:
            return
        finally:
            esme.gone.set()

    reading = asyncio.create_task(read())
    try:
        yield esme
    finally:
        writer.close()
        await reading


def submit(sequence: int, number: str = "8613800131234", *, receipt: int = 1, **fields: Any) -> bytes:
    """A submit_sm of "Hello", or of what `fields` of `ShortMessage` say."""
    given = {"short_message": b"Hello", "registered_delivery": receipt, **fields}
    message = ShortMessage(Address(3, 0, "10690"), Address(1, 1, number), **given)
    return pdu.encode(Command.SUBMIT_SM, 0, sequence, message.encode())
