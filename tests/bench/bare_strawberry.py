"""A list served by Strawberry alone: `python -m tests.bench.bare_strawberry PORT [cached]`. No database."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import Enum

import strawberry
import uvicorn
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.extensions.base_extension import SchemaExtension


@strawberry.enum
class Status(Enum):
    COMPLETED = "COMPLETED"


@strawberry.type
class Task:
    id: strawberry.ID
    name: str
    status: Status
    created_at: datetime
    send_at: datetime
    segments_per_message: int
    revision: int


@strawberry.type
class Tasks:
    nodes: list[Task]


@strawberry.type
class Query:
    @strawberry.field
    async def tasks(self, first: int = 50) -> Tasks:
        now = datetime.now(UTC)
        return Tasks(
            nodes=[
                Task(
                    id=strawberry.ID(str(number)), name=f"Notice {number}", status=Status.COMPLETED,
                    created_at=now, send_at=now, segments_per_message=1, revision=number,
                )
                for number in range(first)
            ]
        )  # fmt: skip


if __name__ == "__main__":
    caches: list[type[SchemaExtension]] = [ParserCache, ValidationCache] if "cached" in sys.argv else []
    app = GraphQL(strawberry.Schema(Query, extensions=caches))
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", http="httptools", loop="uvloop")
