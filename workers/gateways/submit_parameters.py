"""The parameters of a gateway's URL that say how its submit_sm is to look."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from workers.gateways import urls
from workers.smpp.alphabets import UCS2
from workers.smpp.submit_options import Alphabet, LongText, SubmitOptions

LONGEST_VALIDITY: Final = 72 * 3600
"""Seconds. What became of a message is awaited for 72 hours: a centre that tries longer is not heard."""
SHORTEST_VALIDITY: Final = 60


def _data_coding(url: urls.GatewayUrl, key: str, value: str) -> int:
    found = urls.whole(0, 255)(url, key, value)
    if found == UCS2:
        url.refuse(f"{key} is for texts that are not UCS-2; {UCS2} would make the centre read them as such")
    return found


PARAMETERS: Final = {
    "source_ton": urls.whole(0, 6),
    "source_npi": urls.whole(0, 18),
    "dest_ton": urls.whole(0, 6),
    "dest_npi": urls.whole(0, 18),
    "dest_prefix": urls.one_of({"none": "", "plus": "+", "00": "00"}),
    "service_type": urls.text(5),
    "validity": urls.whole(SHORTEST_VALIDITY, LONGEST_VALIDITY),
    "alphabet": urls.one_of({alphabet.value: alphabet for alphabet in Alphabet}),
    "data_coding": _data_coding,
    "long_text": urls.one_of({way.value: way for way in LongText}),
    "user_message_reference": urls.one_of({"yes": True, "no": False}),
}


def take(given: dict[str, Any]) -> SubmitOptions:
    """Make the options of the parameters given, and take these out of `given`."""
    named = (field.name for field in fields(SubmitOptions))
    return SubmitOptions(**{name: given.pop(name) for name in named if name in given})
