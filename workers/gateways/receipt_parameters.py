"""The parameters of a gateway's URL that say how its receipts are written."""

from __future__ import annotations

from typing import Any, Final

from domain.gateway_ids import IdForm
from workers.gateways import urls
from workers.smpp.receipt_options import ReceiptOptions
from workers.smpp.submit_options import LongText

PARAMETERS: Final = {
    "ids": urls.one_of(
        {
            "auto": None,
            "same": IdForm.SAME,
            "hex-decimal": IdForm.HEX_DECIMAL,
            "decimal-hex": IdForm.DECIMAL_HEX,
        }
    ),
    "country_code": urls.whole(1, 999),
    "receipts": urls.one_of({"segment": False, "message": True}),
}


def take(given: dict[str, Any], long_text: LongText) -> ReceiptOptions:
    """Make the options of the parameters given, and take these out of `given`.

    What travels as one submit_sm has one id, so its receipt speaks for all of it.
    """
    once = given.pop("receipts", False) or long_text is LongText.PAYLOAD
    return ReceiptOptions(
        ids=given.pop("ids", None), whole_message=once, calling_code=str(given.pop("country_code", ""))
    )
