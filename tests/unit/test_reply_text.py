"""What replies say, whatever alphabet and header they came in."""

from __future__ import annotations

import pytest

from domain.segments import gsm7_decode, gsm7_encode
from workers.smpp.alphabets import pack
from workers.smpp.pdu import Address, ShortMessage, Tag
from workers.smpp.reply_text import reply_text
from workers.smpp.submit_options import Alphabet

EVERYTHING = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà\f^{}\\[~]|€"
)
PART = bytes.fromhex("0500032a0201")
WIDE_PART = bytes.fromhex("060804012a0201")


def said(
    octets: bytes,
    data_coding: int = 0,
    alphabet: Alphabet = Alphabet.GSM7,
    *,
    header: bytes = b"",
    payload: bool = False,
) -> str:
    """What a deliver_sm of these octets says."""
    octets = header + octets
    message = ShortMessage(
        Address(1, 1, "8613800138000"),
        Address(3, 0, "10690"),
        b"" if payload else octets,
        esm_class=0x40 if header else 0,
        data_coding=data_coding,
        tlvs=((Tag.MESSAGE_PAYLOAD, octets),) if payload else (),
    )
    return reply_text(ShortMessage.decode(message.encode()), alphabet)


# --- GSM 7-bit ------------------------------------------------------------------------------------


def test_every_character_of_gsm_7_bit_comes_back() -> None:
    """3GPP TS 23.038, 6.2.1 and 6.2.1.1."""
    assert gsm7_decode(gsm7_encode(EVERYTHING)) == EVERYTHING
    assert said(gsm7_encode(EVERYTHING)) == EVERYTHING


@pytest.mark.parametrize(
    ("septets", "text"),
    [
        (b"", ""),
        (b"\x00", "@"),
        (b"a\x1b", "a "),
        (b"\x1bA", "A"),
        (b"\x1b\x1be", " €"),
        (b"\x1b\x65\x1b\x3cx", "€[x"),
    ],
)
def test_escapes_are_read_as_a_phone_does(septets: bytes, text: str) -> None:
    assert gsm7_decode(septets) == text


def test_what_is_no_septet_is_refused() -> None:
    with pytest.raises(ValueError, match="septet"):
        gsm7_decode(b"a\x80")


@pytest.mark.parametrize("length", range(1, 18))
@pytest.mark.parametrize("header", [b"", PART, WIDE_PART])
def test_packed_septets_come_back_behind_any_header(length: int, header: bytes) -> None:
    text = EVERYTHING[1 : 1 + length].replace("\r", "x")
    octets = pack(gsm7_encode(text), len(header))
    assert said(octets, alphabet=Alphabet.GSM7_PACKED, header=header) == text


@pytest.mark.parametrize("data_coding", [0x00, 0x10, 0x11, 0xF0, 0xF1])
def test_data_codings_of_the_default_alphabet(data_coding: int) -> None:
    assert said(b"\x05 \x00 S", data_coding) == "é @ S"


# --- other alphabets ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "data_coding", "text"),
    [
        (b"100$ @", 1, "100$ @"),
        ("Señor é".encode("latin-1"), 3, "Señor é"),
        ("退订 👍".encode("utf-16-be"), 8, "退订 👍"),
        ("退订".encode("utf-16-be"), 0x19, "退订"),
        ("стоп".encode("iso8859-5"), 6, "стоп"),
        ("退订".encode("gb18030"), 15, "退订"),
        (b"STOP", 4, "STOP"),
        ("退订".encode(), 4, "退订"),
    ],
)
def test_data_coding_says_what_it_is(octets: bytes, data_coding: int, text: str) -> None:
    """SMPP 3.4, 5.2.19."""
    for alphabet in Alphabet:
        assert said(octets, data_coding, alphabet) == text


def test_a_gateway_of_latin_1_gets_its_default_alphabet_in_it() -> None:
    assert said("é$_@ÿ".encode("latin-1"), alphabet=Alphabet.LATIN_1) == "é$_@ÿ"


def test_a_header_is_left_out() -> None:
    assert said(b"STOP", header=PART) == "STOP"
    assert said("退订".encode("utf-16-be"), 8, header=WIDE_PART) == "退订"


def test_a_long_text_in_message_payload() -> None:
    text = "长" * 32_700
    assert said(text.encode("utf-16-be"), 8, payload=True) == text
    assert said(b"x" * 65_500, alphabet=Alphabet.GSM7_PACKED, payload=True)


# --- what centres do wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "data_coding", "text"),
    [
        (b"STOP\0", 0, "STOP"),
        (b"STOP\0\0", 0xF0, "STOP"),
        ("退订".encode(), 0, "退订"),
        (b"se\xf1or", 0, "señor"),
        (b"\xd8\x3d", 8, "\ufffd"),
        (b"\x90\x00\x8b", 8, "退\ufffd"),
        (b"\xff", 15, "\ufffd"),
        (b"\xff", 0xAB, "\xff"),
    ],
)
def test_wrong_octets_cost_a_few_letters_at_most(octets: bytes, data_coding: int, text: str) -> None:
    assert said(octets, data_coding) == text


@pytest.mark.parametrize("alphabet", Alphabet)
@pytest.mark.parametrize("data_coding", range(256))
def test_anything_is_a_text(data_coding: int, alphabet: Alphabet) -> None:
    for octets in (b"", b"\0", b"\x1b", bytes(range(250)), b"\xff\xfe\xfd"):
        assert isinstance(said(octets, data_coding, alphabet), str)
    for header in (b"\xff", b"\x00", b"\x05\x00\x03"):
        assert isinstance(said(b"", data_coding, alphabet, header=header), str)
