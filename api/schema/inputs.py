"""What inputs of mutations have in common."""

from __future__ import annotations

import strawberry

INPUT = strawberry.argument(name="input", description="What to do, and to what.")
ERRORS = "What is wrong with the input; empty when it was done."
