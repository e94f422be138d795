"""Settings: how much anybody may ask for, and how long things are kept."""

from pydantic import BaseModel, Field


class LimitSettings(BaseModel):
    """Of uploads, requests, sockets and single operations."""

    upload_limit: int = Field(
        default=16 * 1024 * 1024, ge=1024, description="a number of bytes, 1024 or more"
    )
    requests_per_second: float = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="a number, 0 for no limit: requests a second of one token, ten seconds' worth at once",
    )
    anonymous_per_second: float = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description=(
            "a number, 0 for no limit: requests a second of an address without a valid token, fifty "
            "seconds' worth at once"
        ),
    )
    imports_at_once: int = Field(
        default=10,
        ge=0,
        description="a number, 0 for no limit: imports that one token may have under way at once",
    )
    sockets_at_once: int = Field(
        default=1000,
        ge=0,
        description="a number, 0 for no limit: sockets that one token may have open at once",
    )
    subscriptions_at_once: int = Field(
        default=2000,
        ge=0,
        description="a number, 0 for no limit: subscriptions that one token may have at once",
    )
    query_depth: int = Field(
        default=15, ge=1, le=100, description="a number from 1 to 100: fields that may lie inside each other"
    )
    query_aliases: int = Field(
        default=50, ge=0, le=10_000, description="a number from 0 to 10000: aliases in an operation"
    )
    query_tokens: int = Field(
        default=2_000,
        ge=100,
        le=50_000,
        description="a number from 100 to 50000: names, values and punctuation in a document",
    )
    query_cost: int = Field(
        default=50_000, ge=100, description="a number, 100 or more: what an operation may cost"
    )
    query_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="seconds, up to 3600, that an operation may take"
    )
    import_seconds: float = Field(
        default=600.0,
        gt=0,
        le=3600,
        description="seconds, up to 3600, that reading a list of numbers may take",
    )
    retention_days: int = Field(
        default=90,
        ge=7,
        le=36500,
        description="days, 7 or more, that the messages of a task are kept after its end, and replies",
    )
