"""The interface of everything that has an id."""

from __future__ import annotations

import strawberry


@strawberry.interface(description="Something with an id of its own, which the query `node` finds it by.")
class Node:
    id: strawberry.ID = strawberry.field(
        description="Unique among all objects, and opaque: don't look inside."
    )
