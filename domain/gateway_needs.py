"""What gateways need of a task, as the workers that have them know it.

The workers write it down, for the API may not know what is behind a gateway's name. A gateway of which
nothing is written needs nothing that is checked beforehand; it refuses by itself what it cannot send.
"""

from __future__ import annotations

from collections.abc import Collection

from domain import db


async def note(gateways: Collection[str], need_external_id: Collection[str]) -> None:
    """Write down which of these gateways need a template's externalId."""
    await db.fetch(
        """
        INSERT INTO gateway_need (gateway, external_id)
        SELECT name, name = ANY($2::text[]) FROM unnest($1::text[]) AS name ORDER BY name
        ON CONFLICT (gateway) DO UPDATE SET external_id = excluded.external_id
        WHERE gateway_need.external_id <> excluded.external_id
        """,
        list(gateways),
        list(need_external_id),
    )


async def gateways_needing_external_id() -> frozenset[str]:
    """The gateways for which a template needs an externalId."""
    rows = await db.fetch("SELECT gateway FROM gateway_need WHERE external_id")
    return frozenset(row["gateway"] for row in rows)
