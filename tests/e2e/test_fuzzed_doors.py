"""Garbage for every door: uploads, request bodies, sockets, callbacks, the simulated message centre."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from hypothesis import given
from hypothesis import strategies as st
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.demo.service_client import ServiceClient
from domain.callback_urls import callback_url
from domain.settings import Settings
from tests.e2e.attack_files import NUMBER, workbook
from tests.e2e.line import CREATE, Child, lives, make_mainland, running_line
from tests.fuzzing import complaints, effort

KEY = "a key of these tests, long enough"
SETTINGS = {
    "GROUPSMS_REQUESTS_PER_SECOND": "0",
    "GROUPSMS_ANONYMOUS_PER_SECOND": "0",
    "GROUPSMS_IMPORTS_AT_ONCE": "0",
    "GROUPSMS_SECRET_KEY": KEY,
}
WITHIN = 20.0
"""Seconds in which each answer must come, on a busy machine."""
INTERNAL_CLOSE = 1011
"""RFC 6455, 7.4.1: what a server closes a socket with that something unexpected happened to."""

ODD = st.text(max_size=30) | st.sampled_from(
    ["\0", "\ud800", "１３８", "=1+1", "9" * 400, "2026-01-01T00:00:00Z"]
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD, inner, max_size=4),
    max_leaves=10,
)


def mutated(whole: bytes) -> st.SearchStrategy[bytes]:
    """A file with some octets replaced, removed, doubled or put in."""
    place = st.integers(0, len(whole))
    change = st.tuples(place, st.integers(0, 40), st.binary(max_size=40))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        content = whole
        for begin, length, instead in changes:
            content = content[:begin] + instead + content[begin + length :]
        return content

    return st.lists(change, min_size=1, max_size=5).map(apply)


@dataclass
class _Doors:
    """A running API, and how to ask at each of its doors from a thread."""

    url: str
    token: str
    made_from: dict[str, str]
    callback: str

    def all(self) -> None:
        """Try each."""
        with httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}", "Apollo-Require-Preflight": "true"},
            timeout=WITHIN,
        ) as http:
            self.files(http)
            self.bodies(http)
            self.parts(http)
            self.callbacks(http)
        self.sockets()

    def files(self, http: httpx.Client) -> None:
        """Workbooks and texts with octets changed: errors are data, or it is a task."""
        order = {"name": "Fuzz", **self.made_from, "recipients": {"file": None}}
        operations = json.dumps({"query": CREATE, "variables": {"input": order}})
        text = f'Phone,Name\r\n{NUMBER},"a, b"\r\n+8613800138001,c\r\n'.encode()

        @effort(20)
        @given(mutated(workbook()) | mutated(text) | mutated(text.decode().encode("utf-16")) | st.binary())
        def send(content: bytes) -> None:
            answer = self._whole(
                http.post(
                    "/graphql",
                    data={"operations": operations, "map": '{"0": ["variables.input.recipients.file"]}'},
                    files={"0": ("recipients.xlsx", content)},
                )
            )
            payload = answer["data"]["createTask"]
            assert bool(payload["task"]) != bool(payload["errors"]), payload

        send()

    def bodies(self, http: httpx.Client) -> None:
        """Any JSON, or something like it, as a request; and anything as variables."""
        operation = st.fixed_dictionaries(
            {"query": st.just(CREATE), "variables": st.fixed_dictionaries({"input": self._orders() | JSON})}
        )
        listing = st.fixed_dictionaries(
            {
                "query": st.just(
                    "query ($a: String, $i: ID!) { tasks(after: $a) { totalCount } node(id: $i) { id }"
                    " optOuts(numberEndsWith: $a) { totalCount } }"
                ),
                "variables": st.fixed_dictionaries({"a": ODD, "i": ODD}),
            }
        )

        @effort(60)
        @given((JSON | operation | listing).map(lambda body: json.dumps(body).encode()) | st.binary())
        def send(body: bytes) -> None:
            self._whole(http.post("/graphql", content=body, headers={"Content-Type": "application/json"}))

        send()

    def _orders(self) -> st.SearchStrategy[dict[str, Any]]:
        numbers = st.fixed_dictionaries({"numbers": st.lists(ODD, max_size=4)})
        optional = {"sendAt": ODD, "idempotencyKey": ODD, "previewHash": ODD}
        return st.fixed_dictionaries(
            {
                "name": ODD,
                "recipients": numbers,
                **{key: st.just(value) | ODD for key, value in self.made_from.items()},
            },
            optional=optional,
        )

    def parts(self, http: httpx.Client) -> None:
        """Multipart bodies whose parts are missing, double, out of order or nonsense."""
        name = st.sampled_from(["operations", "map", "0", "1", "", "\x00", 'a"b']) | ODD
        wild = JSON.map(json.dumps) | st.sampled_from(
            [
                json.dumps({"query": CREATE, "variables": {"input": {}}}),
                '{"0": ["variables.input"]}',
                "{}",
                "[",
            ]
        )
        part = st.tuples(name, wild.map(str.encode) | st.binary(max_size=60), st.booleans())
        huge = st.just(json.dumps({str(n): ["variables.input"] for n in range(5000)}).encode())

        def body(found: list[tuple[str, bytes, bool]]) -> bytes:
            pieces = []
            for name, content, is_file in found:
                filename = '; filename="f"' if is_file else ""
                head = f'Content-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
                pieces.append(b"--cut\r\n" + head.encode(errors="surrogatepass") + content + b"\r\n")
            return b"".join(pieces) + b"--cut--\r\n"

        parts = st.lists(part | st.tuples(st.just("map"), huge, st.just(False)), max_size=6)

        @effort(60)
        @given(parts.map(body) | st.binary() | parts.map(body).flatmap(mutated))
        def send(content: bytes) -> None:
            kind = {"Content-Type": "multipart/form-data; boundary=cut"}
            self._whole(http.post("/graphql", content=content, headers=kind))

        send()

    def callbacks(self, http: httpx.Client) -> None:
        """Reports of a platform that has gone mad, and of people who are no platform."""
        known = ("smsMsgId", "status", "to", "total", "sequence", "updateTime", "source", "from", "body")
        fields = st.dictionaries(st.sampled_from(known) | ODD, ODD, max_size=9)
        form = fields.map(lambda found: urlencode(found, errors="surrogatepass").encode())
        one = st.dictionaries(st.sampled_from(known) | ODD, JSON, max_size=9)
        body = form | (one | st.lists(one, max_size=3) | JSON).map(lambda found: json.dumps(found).encode())
        signed = urlsplit(self.callback)
        address = st.sampled_from(
            [f"{signed.path}?{signed.query}"] * 3 + [signed.path, f"{signed.path}x?signature=a"]
        )
        kind = st.sampled_from(
            [
                "application/json",
                "application/x-www-form-urlencoded",
                "application/json; charset=x",
                "text/xml",
                "",
            ]
        )

        @effort(80)
        @given(address, body | st.binary(), kind)
        def send(address: str, body: bytes, kind: str) -> None:
            answer = http.post(address, content=body, headers={"Content-Type": kind})
            assert answer.status_code in (200, 400, 404), (answer.status_code, answer.text)
            assert answer.status_code == 404 or address == f"{signed.path}?{signed.query}"

        send()

    def sockets(self) -> None:
        """Any frames: the socket is closed as the protocol says, or goes on."""
        kinds = ["connection_init", "subscribe", "complete", "ping", "pong", "next", "connection_ack", "?"]
        payload = JSON | st.just({"authorization": f"Bearer {self.token}"})
        subscription = st.fixed_dictionaries(
            {
                "query": st.sampled_from(
                    [
                        "subscription ($id: ID!) { taskUpdated(id: $id) { id } }",
                        "subscription ($id: String) { tasksChanged(since: $id) { __typename } }",
                        "{ viewer { __typename } }",
                        "subscription { nothing }",
                        "{",
                    ]
                ),
                "variables": st.fixed_dictionaries({"id": ODD}) | JSON,
            }
        )
        message = st.fixed_dictionaries(
            {"type": st.sampled_from(kinds)}, optional={"id": ODD, "payload": payload | subscription}
        ).map(json.dumps)
        begun = st.just(
            json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {self.token}"}})
        )
        no_utf8 = st.binary(min_size=1).map(lambda octets: NoUtf8(octets + b"\xff"))
        frame = message | no_utf8 | JSON.map(json.dumps) | st.text().map(_sendable) | st.binary()
        pieces = st.lists(st.text().map(_sendable), min_size=1, max_size=4)
        giant = st.just("x" * 3_000_000)
        first = begun.map(lambda message: [message])
        rest = st.lists(frame | message | pieces | giant, max_size=5)

        @effort(50)
        @given(st.builds(lambda first, rest: [*first, *rest], first, rest))
        def send(frames: list[Any]) -> None:
            address = f"{self.url.replace('http', 'ws', 1)}/graphql"
            protocol = Subprotocol("graphql-transport-ws")
            with connect(
                address, subprotocols=[protocol], open_timeout=WITHIN, close_timeout=WITHIN
            ) as found:
                try:
                    for frame in frames:
                        found.send(frame, text=True if isinstance(frame, NoUtf8) else None)
                    found.send('{"type": "ping"}')
                    while json.loads(found.recv(WITHIN))["type"] != "pong":
                        pass
                except ConnectionClosed:
                    assert found.close_code not in (None, INTERNAL_CLOSE), (found.close_reason, frames)

        send()

    @staticmethod
    def _whole(response: httpx.Response) -> dict[str, Any]:
        assert response.status_code < 500, (response.status_code, response.text)
        answer: dict[str, Any] = response.json()
        for error in answer.get("errors", ()):
            assert error["extensions"]["code"] != "INTERNAL", error
        return answer


class NoUtf8(bytes):
    """To be sent as text all the same."""


def _sendable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _is_well(*children: Child) -> bool:
    return lives(*children) and not any(
        complaints(each.entries()) or "Traceback" in each.log.read_text() for each in children
    )


async def test_no_door_of_the_api_breaks(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with running_line(database_url, redis_url, tmp_path) as line:
        api, client = await line.api(None, **SETTINGS)
        settings = Settings.model_validate({"data_dir": tmp_path, "secret_key": KEY})
        made_from = await make_mainland(client, "您好")
        doors = _Doors(client.base_url, line.token, made_from, callback_url(settings, "default"))
        await asyncio.to_thread(doors.all)
        assert await _answers(client)
        assert _is_well(api)


async def _answers(client: ServiceClient) -> bool:
    return bool(await client.execute("{ viewer { __typename } }"))


BIND_TRANSCEIVER = 0x9
LINK_UNSPECIFIED = b"line\0secret\0\0\x34\0\0\0"


def _pdu(command: int, sequence: int, body: bytes) -> bytes:
    return struct.pack(">IIII", 16 + len(body), command, 0, sequence) + body


def _ask(port: int, sent: bytes) -> bytes:
    """Send it all and read until the other side closes or has nothing to say."""
    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN) as peer:
        try:
            peer.sendall(sent)
            peer.shutdown(socket.SHUT_WR)
            answer = bytearray()
            while piece := peer.recv(65536):
                answer += piece
        except ConnectionResetError:
            return b""
        return bytes(answer)


def _fuzz_centre(port: int) -> None:
    bind = _pdu(BIND_TRANSCEIVER, 1, LINK_UNSPECIFIED)
    commands = st.sampled_from([1, 2, 3, 4, 5, 6, 9, 0x15, 0x80000004, 0x80000005, 0x103, 0xFFFFFFFF])
    pdu = st.builds(_pdu, commands, st.integers(0, 2**32 - 1), st.binary(max_size=80))
    submit = b"\0\1\1Shop\0\1\00134600000001\0\0\0\0\0\0\1\0\0\0\5Hello"
    submits = mutated(submit).map(lambda body: _pdu(4, 2, body))
    session = st.lists(pdu | submits | st.binary(max_size=40), max_size=5).map(b"".join)

    @effort(60)
    @given(st.booleans(), session)
    def send(is_bound: bool, rest: bytes) -> None:
        _ask(port, bind + rest if is_bound else rest)

    send()
    response = _ask(port, bind)
    assert struct.unpack_from(">II", response, 4) == (0x80000000 | BIND_TRANSCEIVER, 0)


async def test_the_simulated_centre_serves_on(database_url: str, redis_url: str, tmp_path: Path) -> None:
    async with running_line(database_url, redis_url, tmp_path) as line:
        centre = await line.message_centre()
        port = urlsplit(line.gateway).port
        assert port is not None
        await asyncio.to_thread(_fuzz_centre, port)
        assert _is_well(centre)
