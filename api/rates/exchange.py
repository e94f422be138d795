"""Telling the other processes what was used here, and hearing what was used there, over Redis.

Nobody waits for it: requests are answered from what the process knows. While Redis is away, each process
holds the limits for itself alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.rates.meter import Meter
from api.rates.places import Places
from domain.bus import ANSWER_WITHIN
from domain.cancellation import end

log = structlog.get_logger()

CHANNEL = "groupsms:rates"
TELL_EVERY = 0.2
"""Seconds between two looks whether there is something to tell: what others grant meanwhile comes on top."""
SIGN_OF_LIFE = 1.0
"""Seconds after which everything is told again: well before the lease of places ends."""


class Exchange:
    """What one process tells and hears."""

    def __init__(self, meters: Mapping[str, Meter], places: Mapping[str, Places]) -> None:
        """Both by a name that is the same in all processes."""
        self._meters = meters
        self._places = places
        self._process = uuid4().hex
        self._told: dict[str, dict[str, int]] = {}
        self._told_at = float("-inf")

    def news(self, now: float) -> str | None:
        """What to tell the others; None if there is nothing new, and nobody would miss a sign of life."""
        used = {name: each for name, meter in self._meters.items() if (each := meter.used())}
        held = {name: places.held() for name, places in self._places.items()}
        if not used and held == self._told and now - self._told_at < SIGN_OF_LIFE:
            return None
        self._told, self._told_at = held, now
        return json.dumps({"from": self._process, "used": used, "held": held})

    def hear(self, told: str) -> None:
        """Count what another process tells. Raises what nonsense does."""
        news: dict[str, Any] = json.loads(told)
        if news["from"] == self._process:
            return
        for name, used in news["used"].items():
            if name in self._meters:
                self._meters[name].charge({str(key): int(count) for key, count in used.items()})
        for name, held in news["held"].items():
            if name in self._places:
                self._places[name].note(news["from"], {str(key): int(count) for key, count in held.items()})

    async def tell_for_ever(self, redis: Redis) -> None:
        """Publish the news. What Redis does not take is not told again: by then it is past."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TELL_EVERY)
            for places in self._places.values():
                places.forget_silent()
            news = self.news(loop.time())
            if news is None:
                continue
            try:
                await redis.publish(CHANNEL, news)
            except (RedisError, OSError) as error:
                log.debug("rates_not_told", error=str(error))

    async def hear_for_ever(self, redis: Redis) -> None:
        """Receive the news of others, reconnecting for ever."""
        while True:
            try:
                async with redis.pubsub() as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    async for message in pubsub.listen():
                        if message["type"] == "message":
                            self._hear(message["data"])
            except (RedisError, OSError) as error:
                log.debug("rates_not_heard", error=str(error))
            await asyncio.sleep(TELL_EVERY)

    def _hear(self, told: str) -> None:
        try:
            self.hear(told)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            log.warning("rates_not_understood", error=str(error))


@asynccontextmanager
async def exchanging(exchange: Exchange, redis_url: str) -> AsyncIterator[None]:
    """Keep the exchange going; it works as well as it can while Redis is away."""
    # Everybody hears their own signs of life, more often than this: a connection that is silent is made anew.
    redis: Redis = Redis.from_url(
        redis_url,
        socket_connect_timeout=ANSWER_WITHIN,
        socket_timeout=ANSWER_WITHIN,
        decode_responses=True,
    )
    loops = [
        asyncio.create_task(exchange.tell_for_ever(redis)),
        asyncio.create_task(exchange.hear_for_ever(redis)),
    ]
    try:
        yield
    finally:
        await end(*loops)
        await redis.aclose(close_connection_pool=True)
