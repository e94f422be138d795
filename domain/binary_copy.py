"""Rows for COPY in PostgreSQL's binary format, packed by the ten thousand.

Encoding them one value at a time would take as long as storing them, and hold up everything else meanwhile.
Format: PostgreSQL's documentation of COPY, "Binary Format".
"""

from __future__ import annotations

import asyncio
import struct
from array import array
from collections.abc import AsyncIterator
from itertools import repeat
from typing import Final

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_TRAILER: Final = struct.pack(">h", -1)
_ROWS_AT_ONCE: Final = 10_000
"""A few milliseconds' work, after which others have their turn."""

_LEFT: Final = struct.Struct(">hiqi")
"""How many columns; the length of the first, and the first; the length of the second."""
_RIGHT: Final = struct.Struct(">iiq")
"""The second column; the length of the third, and the third."""


async def message_rows(task_id: int, numbers: array[int]) -> AsyncIterator[bytes]:
    """Rows of (task_id bigint, position int, number bigint): the numbers in their order, positions from 1."""
    left = _LEFT.pack(3, 8, task_id, 4)
    yield _HEADER
    for begin in range(0, len(numbers), _ROWS_AT_ONCE):
        some = numbers[begin : begin + _ROWS_AT_ONCE]
        positions = range(begin + 1, begin + 1 + len(some))
        # Joining puts the left half, which all rows share, before each right half.
        yield left + left.join(map(_RIGHT.pack, positions, repeat(8), some))
        await asyncio.sleep(0)
    yield _TRAILER
