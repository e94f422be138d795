"""The GraphQL schema. `python -m api.schema > api/schema.graphql` writes down what clients get."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry.schema.config import StrawberryConfig

from api.schema.errors import ERROR_TYPES
from api.schema.mutation import Mutation
from api.schema.queries import Query
from api.schema.scalars import DATE_TIME, PHONE_NUMBER, PhoneNumber
from api.schema.subscriptions import Subscription
from api.transport import SCHEMA_EXTENSIONS
from api.uploads import UPLOAD_SCALAR, Upload

schema = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    types=ERROR_TYPES,
    extensions=SCHEMA_EXTENSIONS,
    config=StrawberryConfig(
        scalar_map={datetime: DATE_TIME, PhoneNumber: PHONE_NUMBER, Upload: UPLOAD_SCALAR},
    ),
)
