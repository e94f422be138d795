"""How a gateway's message centre writes its receipts, beyond what they show themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from domain.calling_codes import is_assigned
from domain.gateway_ids import IdForm, as_decimal


@dataclass(frozen=True, slots=True)
class ReceiptOptions:
    """What one gateway's receipts have in common."""

    ids: IdForm | None = None
    """How ids are written, other than `ALIKE`; None: as they come, so that it shows. Where they are
    hexadecimal in one place, they are decimal here from the edge on, as Kannel has them."""
    whole_message: bool = False
    """Whether there is one receipt a message, which speaks for all its segments."""
    calling_code: str = ""
    """Of the country whose numbers may come in their national form; empty if none do."""

    @property
    def same_id(self) -> bool:
        """Whether a receipt's id is certainly the one of `submit_id`."""
        return self.ids is not None

    def submit_id(self, given: str) -> str:
        """The id of the answer to a submit, as it is kept."""
        return self._kept(given, hexadecimal=self.ids is IdForm.HEX_DECIMAL)

    def receipt_id(self, given: str) -> str:
        """The id in a receipt, as it is kept."""
        return self._kept(given, hexadecimal=self.ids is IdForm.DECIMAL_HEX)

    def e164(self, digits: str) -> str:
        """The E.164 digits of a number that may lack its calling code, or have a trunk zero in its place."""
        if not self.calling_code or digits.startswith(self.calling_code):
            return digits
        national = self.calling_code + digits.lstrip("0")
        return national if is_assigned(national) else digits

    def _kept(self, given: str, *, hexadecimal: bool) -> str:
        if self.ids in (IdForm.HEX_DECIMAL, IdForm.DECIMAL_HEX):
            return as_decimal(given, hexadecimal=hexadecimal)
        return given


AS_THEY_COME: Final = ReceiptOptions()
