"""Every field, every id and every URL, with every role, without a token, and with another account's ids.

What is tried stands in `access_table`; what there is is read from the schema and from the routes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from starlette.routing import Mount, Route

from api.app import build
from api.schema import global_ids
from api.schema import schema as served
from api.signed_links import Grant, LinkSigner
from domain import access, accounts, db
from domain.audit import Actor, ActorKind
from domain.settings import Settings
from domain.states import Role
from tests.integration.access_table import (
    FIELDS,
    IDS,
    IN_ALL_ACCOUNTS,
    NODE,
    NODES,
    URLS,
    Attempt,
    Behind,
    Needs,
    Own,
    Tried,
)
from tests.integration.api_client import Api, Client, ResultError, serving
from tests.integration.api_operations import CREATE_TASK, do, in_minutes, prepare

SCHEMA = build_schema(served.as_str())
ROOTS = {"Query", "Mutation", "Subscription"}
ONLY_IN_CHANGES = {"CountryEstimate", "TaskChange", "TaskPreview", "Warning"}
"""Types that only mutations and subscriptions show, beside their payloads and errors."""
RANKS = list(Role)
NEVER = 10**15
"""The key of nothing."""

LEAVING_NOTHING = {"DeleteTaskInput.id", "RevokeTokenInput.id"}
"""These are tried last."""

Ids = Mapping[str, str]


@pytest.fixture
async def api(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    unlimited = {"requests_per_second": 0, "anonymous_per_second": 0}
    async with serving(database_url, redis_url, tmp_path, **unlimited) as running:
        yield running


# --- the tables are complete ----------------------------------------------------------------------


def test_every_field_of_the_roots_is_in_the_table() -> None:
    there = {f"{root}.{name}" for root in ROOTS for name in object_type(root).fields}
    assert there == set(FIELDS)


def test_every_place_that_takes_an_id_is_in_the_table() -> None:
    assert set(places_of_ids()) == set(IDS)


def test_every_kind_of_node_is_in_the_table() -> None:
    node = SCHEMA.type_map["Node"]
    assert isinstance(node, GraphQLInterfaceType)
    assert {found.name for found in SCHEMA.get_possible_types(node)} == set(NODES)


def test_every_type_is_asked_for_or_an_answer_to_a_change() -> None:
    asked: set[str] = set()
    for each in object_type("Query").fields.values():
        selection(get_named_type(each.type), asked)
    types = {name for name, found in SCHEMA.type_map.items() if isinstance(found, GraphQLObjectType)}
    left = {name for name in types - asked if not name.startswith("__")}
    assert {name for name in left if not name.endswith(("Payload", "Error"))} == ROOTS | ONLY_IN_CHANGES


def test_every_url_is_in_the_table(tmp_path: Path) -> None:
    app = build(Settings(data_dir=tmp_path), "postgresql://nowhere/none", "redis://nowhere")
    assert {getattr(route, "path", route) for route in app.routes} == set(URLS)


def object_type(name: str) -> GraphQLObjectType:
    found = SCHEMA.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return found


def places_of_ids() -> Iterator[str]:
    for name, found in SCHEMA.type_map.items():
        if name.startswith("__"):
            continue
        if isinstance(found, GraphQLInputObjectType):
            yield from (f"{name}.{key}" for key, each in found.fields.items() if takes_id(each.type))
        if isinstance(found, GraphQLObjectType):
            for key, each in found.fields.items():
                yield from (
                    f"{name}.{key}({a})" for a, argument in each.args.items() if takes_id(argument.type)
                )


def takes_id(found: Any) -> bool:
    return str(get_named_type(found)) == "ID"


# --- asking for everything ------------------------------------------------------------------------


def everything(field: str) -> str:
    """A query for a field of Query with every field of every type that it leads to, each type once."""
    name = field.partition(".")[2]
    asked = object_type("Query").fields[name]
    required = {key: argument for key, argument in asked.args.items() if is_required_argument(argument)}
    declared = f"({', '.join(f'${key}: {argument.type}' for key, argument in required.items())})"
    given = f"({', '.join(f'{key}: ${key}' for key in required)})"
    head = f"query {declared if required else ''} {{ {name}{given if required else ''}"
    return f"{head} {selection(get_named_type(asked.type), set())} }}"


def selection(found: GraphQLNamedType, seen: set[str]) -> str:
    if is_leaf_type(found):
        return ""
    if isinstance(found, GraphQLInterfaceType):
        return "{ __typename id }"  # what implements Node is asked for where it stands in lists
    if isinstance(found, GraphQLUnionType):
        parts = (f"... on {each.name} {selection(each, seen)}" for each in SCHEMA.get_possible_types(found))
        return f"{{ __typename {' '.join(parts)} }}"
    assert isinstance(found, GraphQLObjectType)
    if found.name in seen:
        return "{ __typename }"
    seen.add(found.name)
    return f"{{ {' '.join(chosen(key, each, seen) for key, each in found.fields.items())} }}"


def chosen(key: str, field: GraphQLField, seen: set[str]) -> str:
    assert not any(map(is_required_argument, field.args.values())), key
    few = "(first: 2)" if "first" in field.args else ""
    return f"{key}{few} {selection(get_named_type(field.type), seen)}"


# --- two accounts ---------------------------------------------------------------------------------


async def furnish(api: Api, account: str) -> dict[str, str]:
    """An account with one of everything; the ids."""
    token = await accounts.create_token(account, Role.OPERATOR, name="Owner")
    owner = api.holding(token)
    made = await prepare(owner)
    task = (
        await do(
            owner,
            CREATE_TASK,
            name="Secret",
            recipients={"numbers": ["13800138000", "nobody"]},
            sendAt=in_minutes(600),
            **made,
        )
    )["task"]
    viewer = await access.viewer_of(token)
    assert viewer is not None
    reply_id = await db.fetchval(
        """
        INSERT INTO reply (received_at, account_id, opted_out, gateway, number, sender, text)
        VALUES (now(), $1, FALSE, 'default', '+8613800138000', '10690001', 'Yes') RETURNING id
        """,
        viewer.account_id,
    )
    upload_id = await db.fetchval(
        """
        INSERT INTO kept_list (id, account_id, content, is_file, expires_at)
        VALUES ($1, $2, '["13800138000"]', FALSE, now() + interval '1 hour') RETURNING id
        """,
        uuid4(),
        viewer.account_id,
    )
    found = await owner.run("{ auditLog(first: 1) { nodes { id } } tasks { changeCursor } }")
    return {
        "account": global_ids.encode("Account", viewer.account_id),
        "application": made["applicationId"],
        "signature": made["signatureId"],
        "template": made["templateId"],
        "task": task["id"],
        "message": task["messages"]["nodes"][0]["id"],
        "reply": global_ids.encode("Reply", reply_id),
        "entry": found["auditLog"]["nodes"][0]["id"],
        "token": global_ids.encode("AccessToken", viewer.token_id or 0),
        "upload": str(upload_id),
        "place": found["tasks"]["changeCursor"],
    }


def never(kind: str) -> str:
    """An id as that of such an object would be, of none that ever was."""
    if kind == "upload":
        return str(uuid4())
    type_name = {"token": "AccessToken", "entry": "AuditEntry"}.get(kind, kind.capitalize())
    return global_ids.encode(type_name, f"{NEVER}.1" if kind == "message" else NEVER)


def filled(wanted: Any, own: Ids, tried: Ids | None = None) -> Any:
    """The variables with ids in their places; without `tried`, ids of nothing are tried."""
    match wanted:
        case Own(kind):
            return own[kind]
        case Tried(kind):
            return tried[kind] if tried is not None else never(kind)
        case Mapping():
            return {name: filled(value, own, tried) for name, value in wanted.items()}
        case _:
            return wanted


async def outcome(client: Client, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """All that a client is told in answer to an operation, or as the first event of a subscription."""
    if not document.startswith("subscription"):
        return await client.answer(document, **variables)
    async with client.subscribe(document, **variables) as events:
        try:
            return {"data": await events.next()}
        except ResultError as refused:
            (told,) = refused.args
            return {"errors": told["payload"] if isinstance(told, dict) else told}


def shown(answer: Mapping[str, Any]) -> bool:
    """Whether an answer has any data: a field that may be null is null beside its error."""
    return any(value is not None for value in (answer["data"] or {}).values())


def refusal_of(answer: Mapping[str, Any]) -> str | None:
    """UNAUTHENTICATED or FORBIDDEN, if that is the answer."""
    codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
    return next((code for code in ("UNAUTHENTICATED", "FORBIDDEN") if code in codes), None)


# --- every field with every role ------------------------------------------------------------------


async def test_every_field_with_every_role_and_without_a_token(api: Api) -> None:
    own = await furnish(api, "Acme")
    clients = {role: await api.client(role, "Acme") for role in Role}
    for field, needs in FIELDS.items():
        if field.startswith("Subscription."):
            continue
        document, variables = operation(field, needs, own)
        answer = await api.holding(None).answer(document, **variables)
        assert not shown(answer), field
        assert refusal_of(answer) == "UNAUTHENTICATED", field
        for role, client in clients.items():
            answer = await client.answer(document, **variables)
            if RANKS.index(role) >= RANKS.index(needs.role):
                assert not answer.get("errors"), (field, role, answer)
            else:
                (error,) = answer["errors"]
                assert not shown(answer), (field, role)
                assert error["extensions"]["code"] == "FORBIDDEN", (field, role)
                assert f"needs a token with the role {needs.role.value}" in error["message"]
                assert error["message"].endswith(f"yours has {role.value}.")


def operation(field: str, needs: Needs, own: Ids) -> tuple[str, dict[str, Any]]:
    variables = filled(needs.variables, own)
    if field.startswith("Mutation."):
        return needs.document, {"input": variables}
    return needs.document or everything(field), variables


async def test_every_subscription_with_every_role_and_without_a_token(api: Api) -> None:
    own = await furnish(api, "Acme")
    for field, needs in FIELDS.items():
        if not field.startswith("Subscription."):
            continue
        variables = filled({"since": Own("place")} if "since" in needs.variables else needs.variables, own)
        for role in Role:
            client = await api.client(role, "Acme")
            async with client.subscribe(needs.document, **variables) as events:
                if "id" in variables:
                    assert await events.next(), (field, role)
                await socket_lives(events._socket)
    async with api.holding(None).socket({}) as socket:
        assert await socket.close_code() == 4403


async def socket_lives(socket: Any) -> None:
    """Nothing that was subscribed to has been refused."""
    await socket.send({"type": "ping"})
    assert (await socket.receive())["type"] == "pong"


async def test_every_node_exists_to_those_who_may_read_it(api: Api) -> None:
    own = await furnish(api, "Acme")
    kinds = {"AccessToken": "token", "AuditEntry": "entry"}
    for role in Role:
        client = await api.client(role, "Acme")
        for type_name, least in NODES.items():
            node_id = own[kinds.get(type_name, type_name.lower())]
            found = (await client.run(NODE, id=node_id))["node"]
            itself = {"__typename": type_name, "id": node_id}
            assert found == (itself if RANKS.index(role) >= RANKS.index(least) else None), (type_name, role)


# --- another account's ids ------------------------------------------------------------------------


async def test_another_accounts_objects_look_as_if_they_did_not_exist(api: Api) -> None:
    theirs, own = await furnish(api, "Acme"), await furnish(api, "Rival")
    before = await everything_stored("Acme")
    for role in Role:
        outsider = await api.client(role, "Rival")
        for type_name in NODES:
            kind = {"AccessToken": "token", "AuditEntry": "entry"}.get(type_name, type_name.lower())
            assert (await outsider.answer(NODE, id=theirs[kind])) == (
                await outsider.answer(NODE, id=never(kind))
            ), type_name
        for place, attempt in IDS.items():
            if role is Role.OPERATOR and place in IN_ALL_ACCOUNTS:
                continue
            told = await outcome(outsider, attempt.document, filled(attempt.variables, own, theirs))
            nothing = await outcome(outsider, attempt.document, filled(attempt.variables, own))
            assert told == nothing, (place, role)
            if role is Role.OPERATOR and attempt.path:
                assert_not_found(told, attempt)
    assert await everything_stored("Acme") == before
    # The same ids do open something to whom they belong: without this the walk would prove nothing.
    owner = await api.client(Role.OPERATOR, "Acme")
    for place, attempt in sorted(IDS.items(), key=lambda each: each[0] in LEAVING_NOTHING):
        told = await outcome(owner, attempt.document, filled(attempt.variables, theirs, theirs))
        nothing = await outcome(owner, attempt.document, filled(attempt.variables, theirs))
        assert told != nothing, place


def assert_not_found(told: Mapping[str, Any], attempt: Attempt) -> None:
    (payload,) = told["data"].values()
    (error,) = payload["errors"]
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["input", *attempt.path]), attempt


async def everything_stored(account: str) -> dict[str, str]:
    """What the database has of an account, but when its tokens were used."""
    account_id = await db.fetchval("SELECT id FROM account WHERE name = $1", account)
    await db.fetch("UPDATE access_token SET last_used_at = NULL")
    tables = ("access_token", "application", "audit_entry", "kept_list", "signature", "task", "template")
    found = {}
    for table in tables:
        found[table] = await db.fetchval(
            f"SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM {table} t "
            "WHERE account_id = $1",
            account_id,
        )
    return found


async def test_an_operator_decides_in_all_accounts(api: Api) -> None:
    theirs, own = await furnish(api, "Acme"), await furnish(api, "Rival")
    operator = await api.client(Role.OPERATOR, "Rival")
    for place in IN_ALL_ACCOUNTS:
        attempt = IDS[place]
        told = await operator.run(attempt.document, **filled(attempt.variables, own, theirs))
        (payload,) = told.values()
        assert payload["errors"] == [], place


async def test_another_accounts_place_in_the_changes_is_none(api: Api) -> None:
    theirs = await furnish(api, "Acme")
    outsider = await api.client(Role.OPERATOR, "Rival")
    document = FIELDS["Subscription.tasksChanged"].document
    told = [await outcome(outsider, document, {"since": since}) for since in (theirs["place"], "nonsense")]
    assert told[0] == told[1]
    assert told[0]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


# --- every URL ------------------------------------------------------------------------------------


async def test_every_url_without_what_it_needs(api: Api) -> None:
    operator = await api.client(Role.OPERATOR)
    for path, behind in URLS.items():
        address = f"{api.url}{path.replace('{task_id:int}', '1').replace('{gateway}', 'default')}"
        match behind:
            case Behind.NOTHING if path != "/graphql/assets":
                assert (await api.http.get(address)).status_code in (200, 503)
            case Behind.LINK:
                # A token opens no link; nor does a signature that is none.
                for query in ("", "?signature=", "?signature=bm90aGluZw"):
                    answer = await api.http.get(f"{address}{query}", headers=operator.headers)
                    assert answer.status_code == 403, (path, query)
            case Behind.CALLBACK_ADDRESS:
                assert (await api.http.post(address, headers=operator.headers)).status_code == 404
            case _:
                continue


async def test_a_link_of_one_account_opens_nothing_of_another(api: Api) -> None:
    theirs, own = await furnish(api, "Acme"), await furnish(api, "Rival")
    keys = {name: global_ids.key_of("Task", ids["task"]) for name, ids in (("t", theirs), ("o", own))}
    rival = global_ids.key_of("Account", own["account"])
    signer = LinkSigner(api.settings.signing_key())
    for path, behind in URLS.items():
        if behind is not Behind.LINK or "{task_id" not in path:
            continue
        told = []
        for key in (keys["t"], NEVER, keys["o"]):
            answer = await api.http.get(
                api.url + signed(signer, path.replace("{task_id:int}", str(key)), rival)
            )
            told.append((answer.status_code, answer.text if answer.status_code != 200 else ""))
        assert told[0] == told[1]
        assert (told[0][0], told[2][0]) == (404, 200), path
        # A link is for one path: that of another task is no link at all.
        elsewhere = signed(signer, path.replace("{task_id:int}", str(keys["o"])), rival).replace(
            f"/{keys['o']}/", f"/{keys['t']}/"
        )
        assert (await api.http.get(api.url + elsewhere)).status_code == 403


def signed(signer: LinkSigner, path: str, account_id: int) -> str:
    grant = Grant(account_id, Actor(ActorKind.SYSTEM))
    return signer.sign(path, grant, now=datetime.now(UTC), lifetime=timedelta(minutes=1))


def test_routes_are_of_the_kinds_that_the_walk_knows(tmp_path: Path) -> None:
    app = build(Settings(data_dir=tmp_path), "postgresql://nowhere/none", "redis://nowhere")
    for route in app.routes:
        if isinstance(route, Route) and URLS[route.path] is Behind.LINK:
            assert route.methods == {"GET", "HEAD"}
        if isinstance(route, Mount):
            assert URLS[route.path] is Behind.NOTHING
