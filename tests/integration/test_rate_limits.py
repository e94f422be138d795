"""How often one token may ask and how much at once: one API, two, and two without Valkey."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from redis.asyncio import Redis

from api.rates.exchange import CHANNEL
from api.rates.places import LEASE
from domain.bus import ANSWER_WITHIN
from domain.metrics import REGISTRY
from tests.conftest import private_data_dir
from tests.integration.api_client import Api, Client, serving
from tests.integration.api_operations import do, prepare
from tests.integration.event_stream import following
from tests.integration.test_bus import OwnValkey
from tests.integration.world import eventually

VIEWER = "{ viewer { role } }"
CHANGES = "subscription { tasksChanged { taskId } }"
CREATE = """mutation ($input: CreateTaskInput!) { createTask(input: $input) { task { id }
  errors { __typename code message path ... on QuotaError { retryAt } } } }"""


@pytest.fixture
async def strict(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """An API with small limits."""
    limits = {
        "requests_per_second": 2,
        "anonymous_per_second": 0.2,
        "imports_at_once": 1,
        "sockets_at_once": 2,
        "subscriptions_at_once": 2,
    }
    async with serving(database_url, redis_url, tmp_path, **limits) as running:
        yield running


async def ask(client: Client, **headers: str) -> httpx.Response:
    body = {"query": VIEWER}
    return await client.http.post(f"{client.url}/graphql", json=body, headers={**client.headers, **headers})


async def answered(client: Client, tries: int) -> int:
    """How many of so many requests at once are not refused."""
    responses = await asyncio.gather(*(ask(client) for _ in range(tries)))
    assert {response.status_code for response in responses} <= {200, 429}
    return sum(response.status_code == 200 for response in responses)


def limited(error: dict[str, Any]) -> int:
    """The seconds to wait, of an error that must say so."""
    assert error["extensions"]["code"] == "RATE_LIMITED"
    seconds: int = error["extensions"]["retryAfter"]
    until = datetime.fromisoformat(error["extensions"]["retryAt"]) - datetime.now(UTC)
    assert timedelta(seconds=seconds - 2) < until <= timedelta(seconds=seconds + 1)
    assert error["message"].endswith(f"Ask again in {seconds} s.")
    return seconds


# --- requests ---------------------------------------------------------------------------------------


async def test_a_token_has_its_burst_and_is_told_what_is_left(strict: Api) -> None:
    client, other = await strict.client(), await strict.client()
    before = REGISTRY.get_sample_value("groupsms_rate_limited_total", {"limit": "requests"}) or 0
    first = await ask(client)
    assert first.headers["RateLimit-Policy"] == '"requests";q=20;w=10'
    assert first.headers["RateLimit"] == '"requests";r=19;t=1'
    assert 18 <= await answered(client, 40) <= 21
    refused = await ask(client)
    assert refused.status_code == 429
    body = refused.json()
    assert body["data"] is None
    assert limited(body["errors"][0]) == int(refused.headers["Retry-After"]) == 1
    assert "2 a second on average" in body["errors"][0]["message"]
    assert refused.headers["RateLimit"] == '"requests";r=0;t=10'
    counted = REGISTRY.get_sample_value("groupsms_rate_limited_total", {"limit": "requests"}) or 0
    assert 20 <= counted - before <= 23
    assert (await ask(other)).status_code == 200


async def test_reused_answers_count_and_are_told_anew(strict: Api) -> None:
    client = await strict.client()
    body = {"query": "{ tasks { nodes { id } } }"}
    left = []
    for _ in range(3):
        response = await client.http.post(f"{client.url}/graphql", json=body, headers=client.headers)
        left.append(response.headers.get_list("RateLimit"))
    assert [len(each) for each in left] == [1, 1, 1]
    assert left[0] > left[1] > left[2]


async def test_trying_out_tokens_is_slow_and_harms_nobody_else(strict: Api) -> None:
    good = await strict.client()
    assert (await ask(good)).status_code == 200
    guesses = [strict.holding(f"gsms_{number}") for number in range(14)]
    codes = [(await ask(guess)).status_code for guess in (*guesses, strict.holding(None))]
    assert codes == [200] * 10 + [429] * 5
    refused = await ask(guesses[0])
    assert 1 <= limited(refused.json()["errors"][0]) <= 5
    assert (await ask(good)).status_code == 200


async def test_sockets_without_a_token_are_as_slow(strict: Api) -> None:
    stranger = strict.holding("gsms_nobody")
    for _ in range(10):
        async with stranger.socket() as socket:
            assert await socket.close_code() == 4403
    with pytest.raises(websockets.InvalidStatus):
        async with stranger.socket():
            pytest.fail("it was let in")


async def test_good_tokens_use_nothing_of_their_address(strict: Api) -> None:
    for _ in range(15):
        client = await strict.client()
        async with client.socket() as socket:
            assert (await socket.receive())["type"] == "connection_ack"
        assert (await ask(await strict.client())).status_code == 200


# --- sockets, subscriptions, imports ------------------------------------------------------------------


async def test_a_socket_too_many_is_closed_so_that_clients_try_again(strict: Api) -> None:
    client, other = await strict.client(), await strict.client()
    async with client.socket() as one, client.socket() as two:
        for socket in (one, two):
            assert (await socket.receive())["type"] == "connection_ack"
        async with client.socket() as three:
            # "Try again later": graphql-ws does, each time after a longer while.
            assert await three.close_code() == 1013
            assert three.connection.close_reason == "This token may have 2 sockets at once. Ask again in 5 s."
        async with other.socket() as theirs:
            assert (await theirs.receive())["type"] == "connection_ack"

    await eventually(lambda: let_in(client))


async def test_a_subscription_too_many_is_refused_by_itself(strict: Api) -> None:
    client = await strict.client()
    async with client.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        await socket.subscribe("1", CHANGES, {})
        async with following(client, CHANGES):
            await socket.subscribe("2", CHANGES, {})
            refused = await socket.receive()
            if refused["id"] == "1":  # the stream was the later one after all
                pytest.fail("the first subscription was refused")
            assert (refused["type"], refused["id"]) == ("error", "2")
            assert limited(refused["payload"][0]) == 5
            await socket.subscribe("3", VIEWER, {})
            assert (await socket.receive())["type"] == "next"
            assert (await socket.receive())["type"] == "complete"
            async with following(client, CHANGES) as stream:
                limited((await stream.next())["errors"][0])
                assert await stream.rest() == ["complete"]


async def test_operations_over_a_socket_are_requests(strict: Api) -> None:
    client = await strict.client()
    async with client.socket() as socket:
        assert (await socket.receive())["type"] == "connection_ack"
        for number in range(30):
            await socket.subscribe(str(number), VIEWER, {})
        kinds: list[str] = []
        while len([kind for kind in kinds if kind != "next"]) < 30:
            message = await socket.receive()
            kinds.append(message["type"])
            if message["type"] == "error":
                limited(message["payload"][0])
    assert 20 <= kinds.count("complete") <= 22
    assert (await ask(client)).status_code == 429


async def test_an_import_too_many_is_data_with_a_time_to_come_back(strict: Api) -> None:
    client = await strict.client()
    made_from = await prepare(client)
    wanted = {"name": "A", "recipients": {"numbers": ["13800138000"]}, **made_from}
    answers = await asyncio.gather(*(client.run(CREATE, input=wanted) for _ in range(5)))
    errors = [error for answer in answers for error in answer["createTask"]["errors"]]
    assert errors, "they were never under way at once"
    for error in errors:
        assert (error["__typename"], error["code"], error["path"]) == ("QuotaError", "BUSY", ["input"])
        assert datetime.fromisoformat(error["retryAt"]) > datetime.now(UTC)
    await do(client, CREATE, **wanted)


# --- several processes --------------------------------------------------------------------------------


@pytest.fixture
def valkey() -> Iterator[OwnValkey]:
    """A Valkey that may be killed."""
    with private_data_dir() as directory:
        own = OwnValkey(directory)
        own.start()
        try:
            yield own
        finally:
            own.kill()


async def sharing(valkey: OwnValkey, processes: int) -> None:
    """Wait until so many processes hear of each other."""
    async with Redis.from_url(valkey.url, decode_responses=True) as redis:

        async def all_listen() -> bool:
            ((_, count),) = await redis.pubsub_numsub(CHANNEL)
            return bool(count == processes)

        await eventually(all_listen)


@asynccontextmanager
async def told(valkey: OwnValkey, kind: str, count: int) -> AsyncIterator[None]:
    """Wait at the end of the block until somebody has told of so many, used or held."""
    async with Redis.from_url(valkey.url, decode_responses=True) as redis, redis.pubsub() as heard:
        await heard.subscribe(CHANNEL)
        yield
        async with asyncio.timeout(10):
            async for message in heard.listen():
                if message["type"] == "message":
                    news = json.loads(message["data"])
                    count -= sum(news["used"].get(kind, news["held"].get(kind, {})).values())
                    if count <= 0:
                        return


async def let_in(client: Client) -> bool:
    """Whether a socket more is let in."""
    async with client.socket() as socket:
        try:
            return bool((await socket.receive())["type"] == "connection_ack")
        except websockets.ConnectionClosed:
            assert socket.connection.close_code == 1013
            return False


async def test_two_processes_share_a_tokens_limits_and_hold_them_alone_without_valkey(
    database_url: str, tmp_path: Path, valkey: OwnValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPSMS_REQUESTS_PER_SECOND", "2")
    monkeypatch.setenv("GROUPSMS_SOCKETS_AT_ONCE", "2")
    async with serving(database_url, valkey.url, tmp_path) as api, api.another(None) as stranger:
        await sharing(valkey, 2)

        async def both() -> tuple[Client, Client]:
            here = await api.client()
            there = Client(stranger.url, here.token, api.http)
            return here, there

        here, there = await both()
        async with told(valkey, "requests", 20):
            assert 20 <= await answered(here, 30) <= 22
        # What was made good since then, and no burst of its own.
        assert await answered(there, 30) <= 6

        here, there = await both()
        async with AsyncExitStack() as sockets:
            async with told(valkey, "sockets", 2):
                for client in (here, there):
                    socket = await sockets.enter_async_context(client.socket())
                    assert (await socket.receive())["type"] == "connection_ack"

            async def full() -> bool:
                return not (await let_in(here) or await let_in(there))

            await eventually(full)

            valkey.kill()
            began = time.monotonic()
            for client in await both():
                # A burst each, at once: that is the bound, and nobody waits for Valkey.
                assert 20 <= await answered(client, 30) <= 24
            assert time.monotonic() - began < ANSWER_WITHIN

            async def has_room() -> bool:
                return await let_in(here) and await let_in(there)

            await eventually(has_room, LEASE + 5)

        valkey.start()
        await sharing(valkey, 2)
        here, there = await both()
        async with told(valkey, "requests", 20):
            assert await answered(here, 30) >= 20
        assert await answered(there, 30) <= 6
