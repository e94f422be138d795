"""The rules of "Length and segments"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.segments import gsm7_encode, is_gsm7, segment, unicode_characters
from domain.states import Encoding, Region

GSM_TEXT = st.text(st.sampled_from("abc XYZ019@£Δ\n^{}\\[~]|€"), max_size=700)
ANY_TEXT = st.one_of(
    GSM_TEXT,
    st.text(st.sampled_from("a中😀€【】"), max_size=300),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
)
REGIONS = st.sampled_from(Region)


def units(text: str) -> int:
    return len(text.encode("utf-16-be")) // 2


@pytest.mark.parametrize(
    ("length", "segments"), [(1, 1), (68, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4)]
)
@pytest.mark.parametrize("character", ["中", "a"])
def test_mainland_counts_characters_whatever_the_alphabet(character: str, length: int, segments: int) -> None:
    content = segment(character * length, Region.CHINESE_MAINLAND)
    assert (content.encoding, len(content.segments)) == (Encoding.UCS_2, segments)


@pytest.mark.parametrize(
    ("length", "segments"), [(158, 1), (160, 1), (161, 2), (164, 2), (306, 2), (307, 3), (320, 3)]
)
def test_international_gsm_counts_septets(length: int, segments: int) -> None:
    content = segment("a" * length, Region.INTERNATIONAL)
    assert (content.encoding, len(content.segments)) == (Encoding.GSM_7, segments)


@pytest.mark.parametrize(("length", "segments"), [(70, 1), (71, 2), (134, 2), (135, 3)])
def test_international_text_outside_gsm_is_ucs2(length: int, segments: int) -> None:
    content = segment("中" + "a" * (length - 1), Region.INTERNATIONAL)
    assert (content.encoding, len(content.segments)) == (Encoding.UCS_2, segments)


def test_extension_characters_count_two_and_are_not_split() -> None:
    assert len(segment("€" * 80, Region.INTERNATIONAL).segments) == 1
    assert segment("€" * 81, Region.INTERNATIONAL).segments == ("€" * 76, "€" * 5)
    assert segment("a" * 152 + "[" + "b" * 10, Region.INTERNATIONAL).segments == ("a" * 152, "[" + "b" * 10)


def test_surrogate_pairs_count_two_and_are_not_split() -> None:
    assert len(segment("😀" * 35, Region.CHINESE_MAINLAND).segments) == 1
    assert segment("😀" * 36, Region.CHINESE_MAINLAND).segments == ("😀" * 33, "😀" * 3)
    assert segment("中" * 66 + "😀" + "文" * 5, Region.INTERNATIONAL).segments == ("中" * 66, "😀" + "文" * 5)


def test_no_text_is_one_empty_segment() -> None:
    assert segment("", Region.INTERNATIONAL).segments == ("",)


def test_gsm7_octets_of_the_standard_table() -> None:
    assert gsm7_encode("@Δ_ΞÆ ¤¡Ä§¿ñà") == bytes(
        [0x00, 0x10, 0x11, 0x1A, 0x1C, 0x20, 0x24, 0x40, 0x5B, 0x5F, 0x60, 0x7D, 0x7F]
    )
    assert gsm7_encode("AZaz09\n\r") == b"AZaz09\n\r"
    assert (
        gsm7_encode("\f^{}\\[~]|€")
        == b"\x1b\x0a\x1b\x14\x1b\x28\x1b\x29\x1b\x2f\x1b\x3c\x1b\x3d\x1b\x3e\x1b\x40\x1b\x65"
    )


@pytest.mark.parametrize("character", ["中", "ç", "`", "\x1b", "\t", "😀", "’"])
def test_outside_the_gsm_alphabet(character: str) -> None:
    assert not is_gsm7(f"a{character}")
    with pytest.raises(ValueError, match="GSM 7-bit"):
        gsm7_encode(character)


def test_unicode_characters_are_distinct_and_in_order() -> None:
    assert unicode_characters("Ça va’ 中 a’中😀€") == ["’", "中", "😀"]
    assert unicode_characters("plain") == []


@given(ANY_TEXT, REGIONS)
def test_segments_rejoin_to_the_text_and_fit(text: str, region: Region) -> None:
    content = segment(text, region)
    assert "".join(content.segments) == text
    if content.encoding is Encoding.GSM_7:
        sizes, single, part = [len(gsm7_encode(each)) for each in content.segments], 160, 153
    else:
        sizes, single, part = [units(each) for each in content.segments], 70, 67
    if len(sizes) == 1:
        assert sizes[0] <= single
    else:
        assert all(0 < size <= part for size in sizes)
        assert sum(sizes) > single


@given(ANY_TEXT, REGIONS)
def test_segments_part_neither_a_surrogate_pair_nor_an_escape(text: str, region: Region) -> None:
    content = segment(text, region)
    for each in content.segments:
        if content.encoding is Encoding.GSM_7:
            assert not gsm7_encode(each).endswith(b"\x1b")
        else:
            assert each.encode("utf-16-be").decode("utf-16-be") == each


@given(ANY_TEXT)
def test_mainland_is_always_ucs2_and_only_gsm_text_travels_as_gsm(text: str) -> None:
    assert segment(text, Region.CHINESE_MAINLAND).encoding is Encoding.UCS_2
    gsm = segment(text, Region.INTERNATIONAL).encoding is Encoding.GSM_7
    assert gsm == is_gsm7(text) == (not unicode_characters(text))
