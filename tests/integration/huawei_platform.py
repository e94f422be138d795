"""Huawei Cloud's Message & SMS platform as its API Reference describes it: batchSendSms v1 and its callbacks.

It listens on a socket of its own and speaks HTTP by hand, so that it can also misbehave in the middle of an
answer. It checks what the documents demand of a request, and answers with the codes they name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import parse_qsl, quote

import httpx

APP_KEY = "key0of0these0tests"
APP_SECRET = "secret/of these+tests"
TEMPLATES = {"8ff55eac1d0b478ab3c06c3c6a492300": 1, "dedc5370c30a4451a09443ef684c2756": 3}
"""The templates of the account, and the segments of each."""
TEMPLATE, LONG_TEMPLATE = TEMPLATES
CREATED = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class Posted:
    """A request as it came in."""

    target: str
    headers: dict[str, str]
    form: dict[str, str]
    at: float
    """On the event loop's clock, in seconds."""

    @property
    def numbers(self) -> list[str]:
        """Those asked for."""
        return self.form.get("to", "").split(",")


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer, and how well."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    octets: int | None = None
    """Cut the connection after so many octets of the body; 0 is before the headers."""
    after: asyncio.Event | None = None
    """Answer nothing before this."""


def said(code: str, description: str = "", status: int = 200) -> Answer:
    """An answer with a code for the whole request."""
    return Answer(status, json.dumps({"code": code, "description": description}).encode())


class HuaweiPlatform:
    """One application of an account."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        """`http` is what it reports with."""
        self._http = http
        self.posted: list[Posted] = []
        self.answer: Callable[[Posted], Answer] = self.by_the_book
        self.statuses: dict[str, str] = {}
        """What to answer for a number instead of 000000."""
        self.ids: dict[str, str] = {}
        """The smsMsgId of each number that was taken last."""
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self._serial = count(1)

    def url(self, query: str = "", key: str = APP_KEY, secret: str = APP_SECRET) -> str:
        """The URL of a gateway to it."""
        return f"huawei+http://{key}:{quote(secret, safe='')}@127.0.0.1:{self.port}?{query}"

    @property
    def reached(self) -> list[str]:
        """Every number of every request that was taken, in order."""
        return [number for posted in self.posted for number in posted.numbers]

    def by_the_book(self, posted: Posted) -> Answer:
        """The documented answer."""
        if posted.target != "/sms/batchSendSms/v1":
            return Answer(404)
        if code := _unauthorised(posted.headers):
            return said(code, "not authorised", 400)
        form = posted.form
        if posted.headers.get("content-type") != "application/x-www-form-urlencoded" or not form.get("from"):
            return said("E000503", "Parameter invalid.", 400)
        if len(posted.numbers) > 500 or not all(re.fullmatch(r"\+?[0-9]{1,20}", n) for n in posted.numbers):
            return said("E000503", "Parameter invalid.", 400)
        results = [
            self._result(posted, number, first=at == posted.numbers.index(number))
            for at, number in enumerate(posted.numbers)
        ]
        fine = any(result["status"] == "000000" for result in results)
        head = (
            {"code": "000000", "description": "Success"}
            if fine
            else {"code": "E000510", "description": "The SMS fails to be sent."}
        )
        return Answer(200, json.dumps({"result": results, **head}).encode())

    def _result(self, posted: Posted, number: str, *, first: bool) -> dict[str, object]:
        template = posted.form.get("templateId", "")
        status = "000000" if template in TEMPLATES else "E200030"
        status = self.statuses.get(number, status) if first else "E200041"
        result: dict[str, object] = {
            "originTo": number,
            "createTime": datetime.now(UTC).strftime(CREATED),
            "from": posted.form["from"],
            "smsMsgId": f"4b4b34e7-1a9e-42ac-b309-d10997148905_{next(self._serial)}",
            "status": status,
        }
        if status == "000000":
            self.ids[number] = str(result["smsMsgId"])
            result |= {"countryId": "CN", "total": TEMPLATES[template]}
        return result

    def report(
        self, number: str, status: str = "DELIVRD", sequence: int = 1, total: int = 1
    ) -> dict[str, str]:
        """The fields of a status report about a number."""
        return {
            "sequence": str(sequence),
            "total": str(total),
            "orgCode": "000",
            "updateTime": datetime.now(UTC).strftime(CREATED),
            "source": "2",
            "smsMsgId": self.ids[number],
            "status": status,
            "to": number,
            "extend": next(p.form["extend"] for p in reversed(self.posted) if number in p.numbers),
        }

    async def call_back(self, fields: dict[str, str], address: str = "") -> httpx.Response:
        """Post a status report to the address given with the last request, or to another."""
        return await self._http.post(address or self.posted[-1].form["statusCallback"], data=fields)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._open.add(writer)
        try:
            while posted := await _read(reader):
                self.posted.append(posted)
                answer = self.answer(posted)
                if answer.after is not None:
                    await answer.after.wait()
                lines = {
                    "Content-Type": "application/json;charset=UTF-8",
                    **answer.headers,
                    "Content-Length": str(len(answer.body)),
                }
                head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
                if answer.octets != 0:
                    writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode())
                    writer.write(answer.body[: answer.octets])
                    await writer.drain()
                if answer.octets is not None:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        """Drop every connection."""
        for writer in self._open:
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Posted | None:
    with suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (h.partition(":") for h in head[1:] if h)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
        return Posted(head[0].split(" ")[1], headers, form, asyncio.get_running_loop().time())
    return None


_WSSE = re.compile(
    r'UsernameToken Username="([^"]*)",PasswordDigest="([^"]*)",'
    r'Nonce="([0-9A-Za-z]{1,128})",Created="([^"]*)"'
)


def _unauthorised(headers: dict[str, str]) -> str:
    """The code for what is wrong with the headers, if anything is."""
    if headers.get("authorization") != 'WSSE realm="SDP",profile="UsernameToken",type="Appkey"':
        return "E000001"
    token = _WSSE.fullmatch(headers.get("x-wsse", ""))
    if token is None:
        return "E000020"
    key, digest, nonce, created = token.groups()
    if abs(datetime.now(UTC) - datetime.strptime(created, CREATED).replace(tzinfo=UTC)) > timedelta(hours=24):
        return "E000104"
    if key != APP_KEY:
        return "E000102"
    hexadecimal = hashlib.sha256((nonce + created + APP_SECRET).encode()).hexdigest()
    return "" if base64.b64encode(hexadecimal.encode()).decode() == digest else "E000104"


@asynccontextmanager
async def huawei_platform(tls: ssl.SSLContext | None = None) -> AsyncIterator[HuaweiPlatform]:
    """Run a platform on a free port."""
    async with httpx.AsyncClient(trust_env=False) as http:
        platform = HuaweiPlatform(http)
        server = await asyncio.start_server(platform.serve, "127.0.0.1", 0, ssl=tls)
        platform.port = server.sockets[0].getsockname()[1]
        try:
            yield platform
        finally:
            server.close()
            await server.wait_closed()
            platform.hang_up()
