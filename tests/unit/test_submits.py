"""What goes into submit_sm, told by peers we did not write: see `tests.phone`."""

import pytest
import smpp34
from hypothesis import given
from hypothesis import strategies as st

from domain.ports import Submission
from domain.segments import Content, segment
from domain.states import Region
from tests.phone import GSM7_TABLE, decoded, part_of, text_of, tlv, unpack
from workers.smpp.alphabets import Unencodable, pack
from workers.smpp.pdu import Status, Tag
from workers.smpp.submit_options import Alphabet, LongText, SubmitOptions
from workers.smpp.submits import References, SubmitEncoder

NUMBER = "+8613800138000"
PLAIN, PACKED, LATIN = Alphabet.GSM7, Alphabet.GSM7_PACKED, Alphabet.LATIN_1
EXTENSION = "^{}\\[~]|€"


def texts(characters: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Short texts, and longer ones than would be drawn of themselves, of up to five segments or so."""
    drawn = st.text(characters, min_size=1, max_size=170)
    return st.builds(lambda text, times: (text * times)[:500], drawn, st.sampled_from([1, 1, 3, 40]))


# Without carriage return, which packed text cannot tell from filling when it ends on an octet boundary.
GSM7 = texts(st.sampled_from(sorted({*GSM7_TABLE} - {"\x1b", "\r", "`"} | {*EXTENSION})))
LATIN_1 = texts(st.sampled_from([c for c in map(chr, range(256)) if c in GSM7_TABLE and c not in "\x1b`"]))
UNICODE = texts(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r") | st.sampled_from("😀👍您的包裹€[äx")
)
OPTIONS = st.builds(
    SubmitOptions, alphabet=st.sampled_from([PLAIN, PACKED]), long_text=st.sampled_from(LongText)
)


def content_of(text: str, region: Region = Region.INTERNATIONAL) -> Content:
    return segment(text, region)


def sent(
    text: str,
    options: SubmitOptions,
    *,
    number: str = NUMBER,
    sender: str = "10690",
    references: tuple[int, ...] = (),
) -> list[smpp34.SubmitSm]:
    """Encode one message and decode it as the other side does."""
    submission = Submission(content_of(text), number, sender, references=references)
    return [decoded(body) for body in SubmitEncoder(options).bodies(submission)]


def arrives(text: str, options: SubmitOptions) -> None:
    """The text comes out as it went in, in as many submit_sm as it is priced at, none too long."""
    segments = content_of(text).segments
    submits = sent(text, options)

    assert text_of(submits, options.alphabet is PACKED) == text
    if options.long_text is LongText.PAYLOAD:
        assert len(submits) == 1
    else:
        assert len(submits) == len(segments)
        for submit in submits:
            septets = submit.data_coding != 8 and options.alphabet is not PACKED
            header = len(part_of(submit).header)
            sar = 6 if tlv(submit, Tag.SAR_MSG_REF_NUM) else 0
            room = 160 - (7 if header or sar else 0) if septets else 140 - header - sar
            assert len(part_of(submit).octets) <= room


# --- texts ----------------------------------------------------------------------------------------


@given(GSM7, OPTIONS)
def test_every_text_of_the_gsm_alphabet_arrives(text: str, options: SubmitOptions) -> None:
    arrives(text, options)


@given(UNICODE, OPTIONS)
def test_every_other_text_arrives(text: str, options: SubmitOptions) -> None:
    arrives(text, options)


@given(LATIN_1, st.sampled_from(LongText))
def test_every_text_of_both_alphabets_arrives_as_latin_1(text: str, long_text: LongText) -> None:
    options = SubmitOptions(alphabet=LATIN, long_text=long_text)
    arrives(text, options)
    assert {submit.data_coding for submit in sent(text, options)} == {3}


@pytest.mark.parametrize("long_text", LongText)
@pytest.mark.parametrize("alphabet", [PLAIN, PACKED])
@pytest.mark.parametrize("before", [*range(150, 162), *range(304, 308)])
@pytest.mark.parametrize("character", ["€", "😀"])
def test_nothing_is_torn_where_segments_meet(
    long_text: LongText, alphabet: Alphabet, before: int, character: str
) -> None:
    options = SubmitOptions(alphabet=alphabet, long_text=long_text)
    arrives("x" * before + character + "y" * 40, options)
    arrives("x" * (before * 67 // 153) + "😀" + character * 3 + "y" * 40, options)


@pytest.mark.parametrize("length", range(1, 330))
def test_every_length_survives_packing(length: int) -> None:
    """Every count of spare bits, with and without a header; @ is the character that zeros spell."""
    for long_text in LongText:
        arrives("x" * (length - 1) + "@", SubmitOptions(alphabet=PACKED, long_text=long_text))
        arrives("x" * length, SubmitOptions(alphabet=PACKED, long_text=long_text))


@pytest.mark.parametrize(
    ("text", "header", "packed"),
    [
        # Vectors printed in many introductions to 3GPP TS 23.038.
        ("hellohello", "", "e8329bfd4697d9ec37"),
        ("How are you?", "", "c8f71d14969741f977fd07"),
        # A captured long message, "Problem in coding long SMS in 7 bit", Nokia's developers' forum.
        ("ABCDEFG", "050003030301", "82c221b1683c02"),
        ("HIJKLMNOP", "050003030302", "9049e592d9743ea1"),
        ("QRSTUVWXYZ", "050003030303", "a2d229b56abd62b35a"),
        # Seven spare bits are a carriage return: 0x0D << 1 in the last octet.
        ("1234567", "", "31d98c56b3dd1a"),
        ("1234567@", "", "31d98c56b3dd00"),
    ],
)
def test_packing_agrees_with_published_octets(text: str, header: str, packed: str) -> None:
    octets = pack(text.encode().replace(b"@", b"\0"), len(bytes.fromhex(header)))

    assert octets.hex() == packed
    assert unpack(bytes.fromhex(header), octets) == text.encode().replace(b"@", b"\0")


def test_a_full_packed_segment_is_140_octets() -> None:
    (single,) = sent("x" * 160, SubmitOptions(alphabet=PACKED))
    first, second = sent("x" * 306, SubmitOptions(alphabet=PACKED))

    assert [len(submit.short_message) for submit in (single, first, second)] == [140, 140, 140]
    assert (single.data_coding, single.esm_class, first.esm_class) == (0, 0, 0x40)


def test_a_payload_is_the_whole_text_in_one() -> None:
    text = "您的包裹已到达。" * 40
    (submit,) = sent(text, SubmitOptions(long_text=LongText.PAYLOAD))

    assert (submit.sm_length, submit.esm_class, submit.data_coding) == (0, 0, 8)
    assert tlv(submit, Tag.MESSAGE_PAYLOAD) == text.encode("utf-16-be")


@pytest.mark.parametrize("long_text", LongText)
def test_a_short_text_travels_the_plain_way(long_text: LongText) -> None:
    (submit,) = sent("Hi", SubmitOptions(long_text=long_text))

    assert (submit.short_message, submit.esm_class, submit.tlvs) == (b"Hi", 0, [])


# --- Latin-1 --------------------------------------------------------------------------------------


def test_latin_1_is_cut_like_gsm_since_the_centre_sends_it_as_that() -> None:
    options = SubmitOptions(alphabet=LATIN)

    (single,) = sent("é" * 160, options)
    assert single.short_message == b"\xe9" * 160
    assert [len(submit.short_message) for submit in sent("é" * 161, options)] == [159, 14]
    assert [len(submit.short_message) for submit in sent("[" * 100, options)] == [6 + 76, 6 + 24]


@pytest.mark.parametrize("character", ["€", "Ω"])
def test_what_latin_1_lacks_goes_as_ucs_2_while_that_costs_no_more(character: str) -> None:
    options = SubmitOptions(alphabet=LATIN)

    (submit,) = sent("x" * 69 + character, options)
    assert (submit.data_coding, submit.short_message) == (8, ("x" * 69 + character).encode("utf-16-be"))
    for text in ("x" * 70 + character, "x" * 200 + character):
        with pytest.raises(Unencodable, match="is not in Latin-1") as refused:
            sent(text, options)
        assert refused.value.status == Status.ESME_RINVDCS


@pytest.mark.parametrize("alphabet", Alphabet)
def test_a_data_coding_of_the_carriers_own_is_for_all_but_ucs_2(alphabet: Alphabet) -> None:
    options = SubmitOptions(alphabet=alphabet, data_coding=0xF1)

    assert [submit.data_coding for submit in sent("Grüße", options)] == [0xF1]
    assert [submit.data_coding for submit in sent("您的包裹", options)] == [8]


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Unencodable, match="surrogate"):
        SubmitEncoder(SubmitOptions()).bodies(Submission(content_of("a\ud83d"), NUMBER, "10690"))


# --- addresses and other fields -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "options", "wanted"),
    [
        ("", SubmitOptions(), (0, 0, "")),
        ("", SubmitOptions(source_ton=5, source_npi=1), (0, 0, "")),
        ("10690", SubmitOptions(), (3, 0, "10690")),
        ("106901234", SubmitOptions(), (1, 1, "106901234")),
        ("+4915112345678", SubmitOptions(), (1, 1, "4915112345678")),
        ("+10690", SubmitOptions(), (1, 1, "10690")),
        ("Acme GmbH", SubmitOptions(), (5, 0, "Acme GmbH")),
        ("10690", SubmitOptions(source_ton=0), (0, 0, "10690")),
        ("106901234", SubmitOptions(source_ton=0), (0, 1, "106901234")),
        ("10690", SubmitOptions(source_npi=8), (3, 8, "10690")),
        ("Acme", SubmitOptions(source_ton=0, source_npi=1), (0, 1, "Acme")),
    ],
)
def test_the_sender_tells_its_type_unless_the_gateway_does(
    sender: str, options: SubmitOptions, wanted: tuple[int, int, str]
) -> None:
    (submit,) = sent("Hi", options, sender=sender)

    assert (submit.source_addr_ton, submit.source_addr_npi, submit.source_addr) == wanted


@pytest.mark.parametrize("sender", ["1" * 21, "Twelve chars", "Grüße", "a\0b", "a\nb"])
def test_what_can_be_no_sender_is_refused(sender: str) -> None:
    with pytest.raises(Unencodable) as refused:
        sent("Hi", SubmitOptions(), sender=sender)
    assert refused.value.status == Status.ESME_RINVSRCADR


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (SubmitOptions(), (1, 1, "8613800138000")),
        (SubmitOptions(dest_prefix="+"), (1, 1, "+8613800138000")),
        (SubmitOptions(dest_ton=0, dest_npi=0, dest_prefix="00"), (0, 0, "008613800138000")),
    ],
)
def test_the_destination_is_written_as_the_gateway_wants(
    options: SubmitOptions, wanted: tuple[int, int, str]
) -> None:
    (submit,) = sent("Hi", options)

    assert (submit.dest_addr_ton, submit.dest_addr_npi, submit.destination_addr) == wanted


@pytest.mark.parametrize("number", ["", "+", "+86x", "+1234567890123456", "+٣٤", "++86"])
def test_what_is_no_number_is_refused(number: str) -> None:
    with pytest.raises(Unencodable) as refused:
        sent("Hi", SubmitOptions(), number=number)
    assert refused.value.status == Status.ESME_RINVDSTADR


@pytest.mark.parametrize("long_text", LongText)
def test_service_type_validity_and_the_receipt_wanted_are_on_every_segment(long_text: LongText) -> None:
    options = SubmitOptions(service_type="CMT", validity=93_784, long_text=long_text)

    for submit in sent("x" * 400, options):
        assert (submit.service_type, submit.validity_period, submit.registered_delivery) == (
            "CMT",
            "000001020304000R",
            1,
        )
        assert (submit.schedule_delivery_time, submit.protocol_id, submit.priority_flag) == ("", 0, 0)


@pytest.mark.parametrize(
    ("validity", "wanted"),
    [(0, ""), (60, "000000000100000R"), (86_400, "000001000000000R"), (259_200, "000003000000000R")],
)
def test_validity_is_a_relative_time(validity: int, wanted: str) -> None:
    (submit,) = sent("Hi", SubmitOptions(validity=validity))

    assert submit.validity_period == wanted


# --- references -----------------------------------------------------------------------------------


def test_each_segment_bears_its_own_user_message_reference() -> None:
    for long_text, wanted in (
        (LongText.UDH, [65_535, 0, 1]),
        (LongText.SAR, [65_535, 0, 1]),
        (LongText.PAYLOAD, [65_535]),
    ):
        submits = sent("x" * 400, SubmitOptions(long_text=long_text), references=(65_535, 0, 1))
        found = [tlv(submit, Tag.USER_MESSAGE_REFERENCE) for submit in submits]
        assert found == [reference.to_bytes(2) for reference in wanted]


def test_no_user_message_reference_where_a_carrier_wants_none_or_there_is_none() -> None:
    off = SubmitOptions(user_message_reference=False)
    for submits in (sent("Hi", off, references=(7,)), sent("Hi", SubmitOptions())):
        assert [submit.tlvs for submit in submits] == [[]]


@pytest.mark.parametrize(("long_text", "count"), [(LongText.UDH, 256), (LongText.SAR, 65_536)])
def test_segments_are_tied_by_a_reference_counted_for_each_pair(long_text: LongText, count: int) -> None:
    encoder = SubmitEncoder(SubmitOptions(long_text=long_text))

    def reference(number: str, sender: str = "10690") -> int:
        parts = [
            part_of(decoded(body))
            for body in encoder.bodies(Submission(content_of("x" * 400), number, sender))
        ]
        (found,) = {part.reference for part in parts}
        assert found is not None
        assert [(part.number, part.total) for part in parts] == [(1, 3), (2, 3), (3, 3)]
        return found

    first = reference("+1")
    assert reference("+2") == reference("+1") == (first + 1) % count
    assert reference("+1", "Acme") == (first + 2) % count
    for _ in range(4):
        reference("+1")
    assert reference("+1") == (first + 6) % count


def test_references_come_round() -> None:
    references = References(octets=2)
    first = references.next("10690", "+1")
    seen = {references.next("10690", "+1") for _ in range(65_535)}

    assert len(seen) == 65_535
    assert first not in seen
    assert references.next("10690", "+1") == first


@given(
    st.lists(
        st.tuples(st.sampled_from(["Hi", "x" * 200, "您" * 100]), st.integers(1, 10**15 - 1)), max_size=20
    )
)
def test_what_is_kept_of_a_content_never_shows(messages: list[tuple[str, int]]) -> None:
    encoder = SubmitEncoder(SubmitOptions(service_type="CMT"))
    for text, number in messages:
        submits = [
            decoded(body) for body in encoder.bodies(Submission(content_of(text), f"+{number}", "Acme"))
        ]
        assert text_of(submits) == text
        assert {submit.destination_addr for submit in submits} == {str(number)}
