"""Phone numbers as people write them, made E.164, or the reason why not. Pure.

Source: "The recipient file" in the guide, whose steps are:

1. 11 digits starting with 1: prefix +86.
2. 13 digits starting with 86: prefix +.
3. Neither 11 nor 13 digits and no plus sign: WRONG_LENGTH.
4. 11 digits not starting with 1, or 13 not starting with 86, and no plus sign: MISSING_COUNTRY_CODE.
   (The guide is silent here.) A leading 00 is no plus sign.
5. With a plus sign: IMPOSSIBLE_NUMBER unless it can be an E.164 number; then REGION_NOT_ALLOWED unless, for
   a mainland application, it is +86 and 11 digits starting with 1, or, for an international one, not +86.

Before that comes cleaning, which may drop what carries no digit but never joins, adds or alters digits:

- Compatibility forms (full-width) become plain, digits of any script become ASCII digits of the same value,
  format characters and outer blanks vanish. Superscripts and circled digits, often footnote marks, are no
  digits.
- One leading apostrophe, blanks, single hyphens or dots between digits, and brackets around digits go.
- LOST_DIGITS: scientific notation, a decimal fraction, a bare run of more than 15 digits. But
  "13800138000.0" is whole.
- A bracketed trunk zero, as in +44 (0)20, is not dialled from abroad: IMPOSSIBLE_NUMBER, not a guess.
- Anything else, such as letters, commas, a line break or a second plus sign (that is, two numbers in one
  cell): NOT_A_NUMBER.
"""

from __future__ import annotations

import re
import unicodedata

from domain.calling_codes import MOST_DIGITS, canonical, is_assigned, is_possible
from domain.states import Region, RowRejection

_MAINLAND_MOBILE = re.compile(r"(?:\+?86)?(1[0-9]{10})")
"""All three ways in which a mainland list is written: one glance settles nearly every row."""
_MAINLAND = 86 * 10**11
_LONGEST_TEXT = 64
_RIGHT_TO_LEFT_OVERRIDE = "\u202e"
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("‐‒–—―−", "-"),  # NFKC already makes the non-breaking and full-width ones plain
        **dict.fromkeys("‘’ʼ", "'"),
        "[": "(",
        "]": ")",
    }
)
_SCIENTIFIC = re.compile(r"[+-]?\d++(?:[.,]\d*+)?[eE][+-]?\d++")
_DECIMAL = re.compile(r"(\+?\d++)\.(\d++)")
_TRUNK_ZERO = re.compile(r"\( *0 *\)")
_BRACKETED_CODE = re.compile(r"\( *\+ *(\d{1,3}) *\)")
_GROUP = r"(?:\( *\d++ *\)|\d++)"
_SHAPE = re.compile(rf"\+? *{_GROUP}(?: *+[-.]? *+{_GROUP})*")
_NO_DIGIT = re.compile(r"[^0-9+]++")


def normalize(value: str, region: Region) -> str | RowRejection:
    """The E.164 form of `value`, such as "+8613800138000", or why an application of `region` can't use it.

    Nothing is guessed: what comes out has the digits that went in, at most with 86 before them.
    """
    number = e164(value, region)
    return number if isinstance(number, RowRejection) else f"+{number}"


def e164(value: str, region: Region) -> int | RowRejection:
    """As `normalize`, with the number's digits as an integer: the form for long lists."""
    if region is Region.CHINESE_MAINLAND and (mobile := _MAINLAND_MOBILE.fullmatch(value)):
        return _MAINLAND + int(mobile[1])
    if not (value.isascii() and (value.isdigit() or (value[:1] == "+" and value[1:].isdigit()))):
        cleaned = _clean(value)
        if isinstance(cleaned, RowRejection):
            return cleaned
        value = cleaned
    if value[0] == "+":
        return _international(value[1:], region)
    if len(value) == 11:
        return _international(f"86{value}", region) if value[0] == "1" else RowRejection.MISSING_COUNTRY_CODE
    if len(value) == 13:
        return _international(value, region) if value[:2] == "86" else RowRejection.MISSING_COUNTRY_CODE
    return RowRejection.LOST_DIGITS if len(value) > MOST_DIGITS else RowRejection.WRONG_LENGTH


def is_blank(value: str) -> bool:
    """Whether a person would see nothing in a cell with this text."""
    return not _plain(value)


def suggest(value: str, region: Region) -> str | None:
    """A number that a rejected `value` probably stands for, for a person to confirm; None if none is likely.

    Knows a missing plus sign, 00 or a trunk zero for it, and trunk prefixes left in; offers only what
    `normalize` takes and, abroad, lies in a range known to be assigned.
    """
    cleaned = _clean(_TRUNK_ZERO.sub("", _plain(value)))
    if isinstance(cleaned, RowRejection):
        return None
    if cleaned[0] == "+":
        digits = canonical(cleaned[1:])
    elif cleaned.startswith("00"):
        digits = canonical(cleaned[2:])
    elif region is Region.CHINESE_MAINLAND and cleaned[0] == "0":
        digits = f"86{cleaned[1:]}"
    else:
        digits = canonical(cleaned)
    if digits is None or (region is Region.INTERNATIONAL and not is_assigned(digits)):
        return None
    suggestion = normalize(f"+{digits}", region)
    return (
        None if isinstance(suggestion, RowRejection) or suggestion == normalize(value, region) else suggestion
    )


def _international(digits: str, region: Region) -> int | RowRejection:
    mainland = digits[:2] == "86"
    mobile = mainland and len(digits) == 13 and digits[2] == "1"
    if not mobile and not is_possible(digits):
        return RowRejection.IMPOSSIBLE_NUMBER
    allowed = mobile if region is Region.CHINESE_MAINLAND else not mainland
    return int(digits) if allowed else RowRejection.REGION_NOT_ALLOWED


def _clean(value: str) -> str | RowRejection:
    """ASCII digits, at least one, perhaps after a plus sign."""
    text = _plain(value)
    if len(text) > _LONGEST_TEXT and not text.isdigit():
        return RowRejection.NOT_A_NUMBER
    if _SCIENTIFIC.fullmatch(text):
        return RowRejection.LOST_DIGITS
    if decimal := _DECIMAL.fullmatch(text):
        whole, fraction = decimal.groups()
        if whole[0] != "+":
            return RowRejection.LOST_DIGITS if fraction.strip("0") else whole
        if not fraction.strip("0"):
            return RowRejection.NOT_A_NUMBER  # a decimal's tail, or two of the number's digits?
    if _TRUNK_ZERO.search(text):
        return RowRejection.IMPOSSIBLE_NUMBER
    text = _BRACKETED_CODE.sub(r"+\1 ", text, count=1)
    if not _SHAPE.fullmatch(text):
        return RowRejection.NOT_A_NUMBER
    digits = _NO_DIGIT.sub("", text)
    if len(digits) > MOST_DIGITS and digits != text and digits[0] != "+":
        return RowRejection.NOT_A_NUMBER  # several numbers in one cell, parted by blanks
    return digits


def _plain(value: str) -> str:
    """`value` without what a reader doesn't see, in ASCII where it has an ASCII form."""
    text = value
    if not text.isascii():
        text = unicodedata.normalize("NFKC", "".join(map(_kept, text)))
        text = "".join(map(_in_ascii, text))
    text = text.strip().translate(_SIGNS)
    return text[1:].lstrip() if text[:1] == "'" else text


def _kept(character: str) -> str:
    # NFKC would turn a superscript into a digit of the number; an override shows digits in another order than
    # they are stored. U+FFFD keeps either from passing for a number.
    if character == _RIGHT_TO_LEFT_OVERRIDE or unicodedata.category(character) == "No":
        return "\ufffd"
    return character


def _in_ascii(character: str) -> str:
    match unicodedata.category(character):
        case "Cf":
            return ""
        case "Nd":
            return str(unicodedata.decimal(character))
        case "Zs":
            return " "
        case _:
            return character
