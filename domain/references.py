"""The 16-bit references that tell messages to one number apart.

They go out as user_message_reference (SMPP 3.4, 5.3.2.17); a carrier that echoes them in its receipts lets a
receipt find a message whose gateway id nobody stored.
"""

from __future__ import annotations

_ODD = 0x9E37_79B9_7F4A_7C15
"""2**64 over the golden ratio: multiplying by it spreads neighbouring keys far apart."""


def references_of(task_id: int, position: int, segments: int) -> tuple[int, ...]:
    """Return a reference for each of a message's segments: consecutive ones, the same every time."""
    first = (((task_id << 20) + position) * _ODD & 0xFFFF_FFFF_FFFF_FFFF) >> 48
    return tuple((first + index) & 0xFFFF for index in range(segments))
