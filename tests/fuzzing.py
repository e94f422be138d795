"""How hard tests try that make up their input: short and repeatable in each run, long with `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

TIMES = "FUZZ_TIMES"
"""Set to try so many times as many examples, other ones in every run."""


def effort(examples: int) -> settings:
    """For a test that tries so many examples in a short run; a failure says how to repeat it."""
    times = int(os.environ.get(TIMES) or 1)
    return settings(
        max_examples=examples * times,
        derandomize=times == 1,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def complaints(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a process has logged that nobody's input may cause: errors and tracebacks."""
    return [
        entry
        for entry in entries
        if entry.get("level") in ("error", "critical") or "exception" in entry or "exc_info" in entry
    ]
