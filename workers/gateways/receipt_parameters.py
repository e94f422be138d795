"""The parameters of a gateway's URL that say how its receipts are written."""

from __future__ import annotations

from typing import Any, Final

from domain.gateway_ids import IdForm
from workers.gateways import urls
from workers.smpp.receipt_options import ReceiptOptions

PARAMETERS: Final = {
    "ids": urls.one_of(
        {
            "auto": None,
            "same": IdForm.SAME,
            "hex-decimal": IdForm.HEX_DECIMAL,
            "decimal-hex": IdForm.DECIMAL_HEX,
        }
    ),
    "receipts": urls.one_of({"segment": False, "message": True}),
}


def take(given: dict[str, Any]) -> ReceiptOptions:
    """Make the options of the parameters given, and take these out of `given`."""
    return ReceiptOptions(ids=given.pop("ids", None), whole_message=given.pop("receipts", False))
