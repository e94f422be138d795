"""The whole schema, fuzzed with schemathesis over HTTP: whatever is asked, nothing breaks inside."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from graphql import IntValueNode, StringValueNode, VisitorAction, parse, print_ast, visit
from graphql.language import ArgumentNode, Node, ObjectFieldNode, Visitor
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from api.demo.service_client import ServiceClient
from domain import accounts
from domain.states import Role
from tests.e2e.line import Line, create, make_international, make_mainland, running_line
from tests.fuzzing import complaints, effort

SCHEMA = Path(__file__).parents[2] / "api" / "schema.graphql"
EXAMPLES = 6
"""Of each field of Query and Mutation."""
SLOWEST = 10.0
"""Seconds an answer may take on a busy machine; an operation is cut off after 30."""
OPEN_LIMITS = {
    "GROUPSMS_REQUESTS_PER_SECOND": "0",
    "GROUPSMS_ANONYMOUS_PER_SECOND": "0",
    "GROUPSMS_QUERY_DEPTH": "40",
    "GROUPSMS_QUERY_ALIASES": "1000",
    "GROUPSMS_QUERY_TOKENS": "10000",
}
"""So that what is made up reaches the resolvers; the cost and the time stay limited."""
IDS = """{
  applications { nodes { id signatures { nodes { id } } templates { nodes { id } } } } tasks { nodes { id } }
}"""
SPARE_TOKEN = """mutation { createToken(input: {name: "spare", role: VIEWER}) { token { id } } }"""
NUMBERS = (
    "13800138000",
    "+34600000001",
    "+999",
    "",
    "１３８００１３８０００",
    "0" * 400,
    "a\x00b",
    "\ud83d\ude00",
)
TIMES = (
    "2026-03-01T09:00:00+08:00",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+14:00",
    "2099-02-30T00:00:00Z",
    "2099-01-01",
    "",
)


def _scalars() -> None:
    def texts(*known: str) -> st.SearchStrategy[Any]:
        return (st.sampled_from(known) | st.text(max_size=40)).map(nodes.String)

    schemathesis.graphql.scalar("DateTime", texts(*TIMES))
    schemathesis.graphql.scalar("PhoneNumber", texts(*NUMBERS))
    schemathesis.graphql.scalar("Decimal", texts("0", "NaN", "1e999999", "-0.1"))
    schemathesis.graphql.scalar("Upload", st.just(nodes.Null))


class _RealIds(Visitor):
    """Puts ids of things that exist in the place of made-up ones, else every answer is "not found"."""

    def __init__(self, ids: Sequence[str]) -> None:
        super().__init__()
        self._ids = list(ids)

    def enter(self, node: Node, *_: Any) -> VisitorAction | Node:
        if not isinstance(node, ArgumentNode | ObjectFieldNode):
            return None
        if not node.name.value.lower().endswith("id") or not self._ids:
            return None
        if isinstance(node.value, StringValueNode | IntValueNode):
            return type(node)(name=node.name, value=StringValueNode(value=self._ids.pop(0)))
        return None


@dataclass
class _Target:
    """A running API and who asks it."""

    url: str
    tokens: list[str | None]
    ids: list[str]
    codes: Counter[str] = field(default_factory=Counter)

    def fuzz(self, http: httpx.Client, operation: Any) -> None:
        """Ask one field of Query or Mutation again and again, with anything the schema allows."""

        @effort(EXAMPLES)
        @given(
            case=operation.as_strategy(),
            token=st.sampled_from(self.tokens),
            ids=st.lists(st.sampled_from(self.ids), max_size=6),
        )
        def ask(case: Any, token: str | None, ids: list[str]) -> None:
            document = print_ast(visit(parse(case.body), _RealIds(ids)))
            self.check(http, document, token)

        ask()

    def check(self, http: httpx.Client, document: str, token: str | None) -> None:
        """One answer: of GraphQL's form, in time, and no fault of the service."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        began = time.monotonic()
        response = http.post(self.url, json={"query": document}, headers=headers)
        took = time.monotonic() - began
        assert response.status_code < 500, (response.status_code, response.text, document)
        answer = response.json()
        assert set(answer) <= {"data", "errors", "extensions"}, answer
        assert "data" in answer or answer["errors"], answer
        for error in answer.get("errors", ()):
            assert isinstance(error["message"], str), error
            assert error["extensions"]["code"] != "INTERNAL", (error, document)
            self.codes[error["extensions"]["code"]] += 1
        self.codes["answered"] += "errors" not in answer
        assert took < SLOWEST, (took, document)


async def _target(line: Line, client: ServiceClient) -> _Target:
    """An account with one of everything; people of each role in it, a stranger, and nobody."""
    numbers = [f"+3460000000{digit}" for digit in range(8)]
    international = await make_international(client, "Hello")
    mainland = await make_mainland(client, "您好")
    await create(client, international, [*numbers, "12", numbers[0]])
    await create(
        client, mainland, ["13800138000"], sendAt=(datetime.now(UTC) + timedelta(days=2)).isoformat()
    )
    found = await client.execute(IDS)
    spare = await client.execute(SPARE_TOKEN)
    ids = [spare["createToken"]["token"]["id"], *(task["id"] for task in found["tasks"]["nodes"])]
    for application in found["applications"]["nodes"]:
        ids.append(application["id"])
        ids += [each["id"] for kind in ("signatures", "templates") for each in application[kind]["nodes"]]
    roles = [await accounts.create_token("line", role) for role in Role]
    stranger = await accounts.create_token("stranger", Role.MANAGER)
    return _Target(f"{client.base_url}/graphql", [line.token, *roles, stranger, None], ids)


async def test_no_operation_is_answered_with_an_internal_error(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    _scalars()
    schema: Any = schemathesis.graphql.from_path(SCHEMA)
    async with running_line(database_url, redis_url, tmp_path) as line:
        api, client = await line.api(None, **OPEN_LIMITS)
        target = await _target(line, client)

        def all_operations() -> int:
            asked = 0
            with httpx.Client(timeout=60) as http:
                for result in schema.get_all_operations():
                    target.fuzz(http, result.ok())
                    asked += 1
            return asked

        assert await asyncio.to_thread(all_operations) >= 34
        assert target.codes["answered"] > target.codes["TOO_COMPLEX"]
        assert complaints(api.entries()) == []
        assert (await client.execute("{ viewer { __typename } }"))["viewer"]
