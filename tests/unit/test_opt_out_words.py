"""Which replies are opt-out words, and which only have one in them."""

from __future__ import annotations

import pytest

from domain.opt_out_words import is_opt_out
from domain.settings import SettingsError, load_settings


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.delenv("GROUPSMS_OPT_OUT_WORDS", raising=False)
    return load_settings().opt_out_words


@pytest.mark.parametrize(
    "text",
    [
        "STOP", "UNSUBSCRIBE", "TD", "R", "退订", "拒收",
        "stop", "Stop.", "ＳＴＯＰ", "ｔｄ", "td!", "退订。", "【退订】", "“拒收”！", "\u3000退订 ",
        "\n STOP \r\n", "STOP\u200b", "\ufeffSTOP", "STOP\0", "'r'", "(R)", "...td...",
        "Ⓢⓣⓞⓟ", "STOP" + " " * 1000, " " * 1000 + "STOP",
    ],
)  # fmt: skip
def test_a_word_alone_opts_out(text: str, words: tuple[str, ...]) -> None:
    """Replies: STOP, UNSUBSCRIBE, TD, R, 退订, 拒收, whatever their case, width and punctuation."""
    assert is_opt_out(text, words)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "please stop", "STOP it", "STOPP", "S T O P", "RR", "T", "退订吗", "不要退订",
        "START", "8", "STOP STOP", "\0" * 70_000 + "STOP", "." * 100 + "STOP", "STO\u0336P", "\ufffd", "P.S.",
    ],
)  # fmt: skip
def test_anything_more_does_not(text: str, words: tuple[str, ...]) -> None:
    assert not is_opt_out(text, words)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("BAJA", ("baja",)),
        (" Stop , arrêt,退订，拒收、Ｒ, stop. ,,", ("stop", "arrêt", "退订", "拒收", "r")),
        ("STRASSE,Straße", ("strasse",)),
        ("", ()),
        ("  ", ()),
        (",", ()),
    ],
)
def test_the_words_are_a_setting(
    value: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPSMS_OPT_OUT_WORDS", value)
    found = load_settings().opt_out_words
    assert found == expected
    assert is_opt_out("STOP", found) is ("stop" in expected)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("STOP,!", "OPT_OUT_WORDS has '!', which is no word: expected words"),
        ("x" * 65, "which is longer than 64 characters"),
    ],
)
def test_words_that_no_reply_could_be_are_refused(
    value: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUPSMS_OPT_OUT_WORDS", value)
    with pytest.raises(SettingsError, match=complaint):
        load_settings()
