"""Print the schema's SDL."""

from __future__ import annotations

import click

from api.schema import schema

click.echo(schema.as_str())
