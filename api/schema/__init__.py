"""The GraphQL schema. `python -m api.schema > api/schema.graphql` writes down what clients get."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import strawberry
from graphql import GraphQLInputObjectType
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema_converter import GraphQLCoreConverter

from api.observation import ObservedOperation
from api.plain_fields import PlainFieldExecutor, mark_plain_fields
from api.schema.errors import ERROR_TYPES
from api.schema.mutation import Mutation
from api.schema.queries import Query
from api.schema.scalars import DATE_TIME, DECIMAL, PHONE_NUMBER, PhoneNumber
from api.schema.subscriptions import Subscription
from api.transport import SCHEMA_EXTENSIONS
from api.uploads import UPLOAD_SCALAR, Upload

schema = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    types=ERROR_TYPES,
    extensions=(*SCHEMA_EXTENSIONS, ObservedOperation),
    execution_context_class=PlainFieldExecutor,
    config=StrawberryConfig(
        scalar_map={
            datetime: DATE_TIME,
            Decimal: DECIMAL,
            PhoneNumber: PHONE_NUMBER,
            Upload: UPLOAD_SCALAR,
        },
    ),
)


def _declare_one_of(built: strawberry.Schema) -> None:
    """Tell graphql-core which inputs are @oneOf, which Strawberry keeps to itself.

    Without this introspection denies it, and breaking the rule counts as a failure of ours.
    """
    for found in built._schema.type_map.values():  # noqa: SLF001 - there is no other way to it
        if isinstance(found, GraphQLInputObjectType):
            definition = found.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
            if definition.is_one_of:
                found.is_one_of = True
                found.out_type = GraphQLInputObjectType.out_type  # type: ignore[method-assign]


_declare_one_of(schema)
mark_plain_fields(schema)
