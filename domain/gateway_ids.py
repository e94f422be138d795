"""A message's id, written one way in the answer to its submit and another way in its receipts.

Some message centres answer a submit in hexadecimal and report in decimal, or the other way round; some fill
up with zeros, or change capitals, in one place only. What a gateway does shows by itself: where id and number
agree in one form again and again, and in no other, that form is kept for the gateway, and used at once from
then on by `receipts.store`. Until then the forms are looked through only for receipts that fit nothing.
"""

from __future__ import annotations

import re
from enum import StrEnum

from domain.db import Connection

ENOUGH = 5
"""So many agreements show a gateway's form, if at most a tenth as many spoke for another."""
COUNTED = 10 * ENOUGH
"""No more agreements in the same form are counted: of a gateway that mixes forms each would be a row to queue
for, again and again."""

LONGEST_NUMBER = 20
"""Digits of the longest id that is taken for a number: those of 64 bits, unsigned, in decimal."""
_WIDTHS = (8, 10, 12, 16, 18, 20)
"""To how many digits message centres fill up with zeros."""

_DECIMAL = re.compile(rf"[0-9]{{1,{LONGEST_NUMBER}}}")
_HEXADECIMAL = re.compile(rf"[0-9A-Fa-f]{{1,{LONGEST_NUMBER}}}")


class IdForm(StrEnum):
    """How an id is written: in the answer to the submit, and in the receipt."""

    SAME = "same"
    ALIKE = "alike"
    """But for leading zeros and capitals."""
    HEX_DECIMAL = "hex-decimal"
    DECIMAL_HEX = "decimal-hex"


def as_decimal(gateway_message_id: str, *, hexadecimal: bool) -> str:
    """An id that is a number, in decimal without leading zeros; any other as it is."""
    number = _number(gateway_message_id, hexadecimal=hexadecimal)
    return gateway_message_id if number is None else str(number)


def _number(gateway_message_id: str, *, hexadecimal: bool) -> int | None:
    if not (_HEXADECIMAL if hexadecimal else _DECIMAL).fullmatch(gateway_message_id):
        return None
    return int(gateway_message_id, 16 if hexadecimal else 10)


def other_forms(gateway_message_id: str) -> dict[str, IdForm]:
    """What the answer to the submit may have called a receipt's id, other than that, and in what form."""
    found: dict[str, IdForm] = {}
    hexadecimal = _number(gateway_message_id, hexadecimal=True)
    decimal = _number(gateway_message_id, hexadecimal=False)
    alike = (gateway_message_id.lstrip("0") or "0") if hexadecimal is not None else gateway_message_id
    for form, digits in (
        (IdForm.ALIKE, alike),
        (IdForm.HEX_DECIMAL, None if decimal is None else f"{decimal:x}"),
        (IdForm.DECIMAL_HEX, None if hexadecimal is None else str(hexadecimal)),
    ):
        if digits is None:
            continue
        widths = (0, *_WIDTHS) if hexadecimal is not None else (0,)
        for width in widths:
            for written in (digits, digits.lower(), digits.upper()):
                found.setdefault(written.rjust(width, "0"), form)
    found.pop(gateway_message_id, None)
    return found


def shows_its_form(gateway_message_id: str) -> bool:
    """Whether an id that agrees as it is speaks for `SAME`: a single decimal digit is one in every form."""
    return not re.fullmatch(r"0*[0-9]", gateway_message_id)


async def note(conn: Connection, gateway: str, form: IdForm, ids: list[str]) -> None:
    """Count agreements in this form, and keep it once they are enough; `ids` are the submits' own."""
    column = form.value.replace("-", "_")
    others = " + ".join(f"f.{other.replace('-', '_')}" for other in IdForm if other is not form)
    digits = "".join(ids)
    capitals = True if re.search("[A-F]", digits) else False if re.search("[a-f]", digits) else None
    await conn.execute(
        f"""
        INSERT INTO gateway_id_form AS f (gateway, form, {column}, capitals, width)
        VALUES ($1, CASE WHEN $3 >= $6::int THEN $2::text END, $3::int, $4::bool, $5::smallint)
        ON CONFLICT (gateway) DO UPDATE SET
            form = CASE
                WHEN f.form IS NULL AND f.{column} + $3 >= greatest($6, 10 * ({others}))
                    THEN $2 ELSE f.form
            END,
            {column} = f.{column} + $3,
            capitals = coalesce($4, f.capitals),
            width = greatest($5, f.width)
        """,
        gateway,
        form.value,
        len(ids),
        None if form is IdForm.SAME else capitals,
        0 if form is IdForm.SAME else max((len(id_) for id_ in ids if re.match("0.", id_)), default=0),
        ENOUGH,
    )
