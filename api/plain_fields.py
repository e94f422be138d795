"""Reading plain fields fast.

Most fields of most answers are attributes of an object that lies in memory already, of a type without parts.
graphql-core leads each of them past argument values, a description of where it stands, and three checks
whether to wait for it. Here such a field is read and written at once. Whatever is out of the ordinary about
it, an error above all, is left to graphql-core from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import strawberry
from graphql import GraphQLNonNull, GraphQLObjectType, Undefined, is_leaf_type
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from api.limits.execution import BoundedExecutor
from domain.masking import masked_number

_PLAIN = "groupsms.plain"
HOLDS_NUMBER = "groupsms.holds_number"
"""Metadata of a text field that may hold a phone number; those of type PhoneNumber do anyway."""
_NUMBERS = "PhoneNumber"

Coerce = Callable[[object], object]
Plain = dict[str, tuple[str, Coerce, bool]]
"""By a field's name: the attribute, how it is written, and whether it holds a phone number."""


class PlainFieldExecutor(BoundedExecutor):
    """What a schema executes operations with, once `mark_plain_fields` has gone through it."""

    def execute_field(
        self, parent_type: GraphQLObjectType, source: Any, field_details_list: Any, *place: Any
    ) -> Any:
        """The value of a field, or a promise of it."""
        plain: Plain = parent_type.extensions.get(_PLAIN, {})
        found = plain.get(field_details_list[0].node.name.value)
        # A number is read here also where an extension resolves fields: nothing gets round the masking.
        if found is not None and (found[2] or not self._has_middleware()):
            attribute, coerce, holds_number = found
            try:
                value = getattr(source, attribute)
                written = None if value is None else coerce(value)
            except Exception:  # noqa: BLE001 - comes again below, where it gets its place in the answer
                written = None
            if written is not None and written is not Undefined:
                if holds_number and self.context_value.hides_numbers:
                    return masked_number(str(written))
                return written
        return super().execute_field(parent_type, source, field_details_list, *place)

    def _has_middleware(self) -> bool:
        return bool(self.middleware_manager and self.middleware_manager.middlewares)


def number_fields(schema: strawberry.Schema) -> frozenset[str]:
    """The fields that show phone numbers, as Type.field, once `mark_plain_fields` has gone through it."""
    return frozenset(
        f"{found.name}.{name}"
        for found in schema._schema.type_map.values()  # noqa: SLF001 - there is no other way to it
        for name, (_, _, holds_number) in found.extensions.get(_PLAIN, {}).items()
        if holds_number
    )


def mark_plain_fields(schema: strawberry.Schema) -> None:
    """Note in each type which of its fields are attributes of leaf types, without a resolver."""
    for found in schema._schema.type_map.values():  # noqa: SLF001 - there is no other way to it
        if isinstance(found, GraphQLObjectType):
            plain: Plain = {}
            for name, field in found.fields.items():
                definition = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
                leaf = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
                if (
                    isinstance(definition, StrawberryField)
                    and definition.is_basic_field
                    and is_leaf_type(leaf)
                ):
                    holds_number = leaf.name == _NUMBERS or HOLDS_NUMBER in definition.metadata
                    plain[name] = definition.python_name, leaf.coerce_output_value, holds_number
            found.extensions[_PLAIN] = plain
