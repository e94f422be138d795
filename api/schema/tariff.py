"""What the fields of our schema cost, where it is not 1, and how long its lists usually are."""

from __future__ import annotations

from api.limits.cost import Tariff
from api.schema.connections import PAGE
from domain.paging import MAX_PAGE

TARIFF = Tariff(
    page=PAGE,
    longest_page=MAX_PAGE,
    # Each is counted over a whole list, or over all segments of a task.
    fields={"totalCount": 10, "failureReasons": 5, "billing": 3},
    lists={
        "Message.segments": 3,
        "Signature.blockers": 3,
        "Task.blockers": 3,
        "Template.blockers": 3,
        "Template.variables": 3,
    },
)
