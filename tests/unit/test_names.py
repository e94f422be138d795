"""What may be a name."""

from __future__ import annotations

import pytest

from domain.errors import InvalidInput
from domain.names import NAME_LENGTH, name_errors


@pytest.mark.parametrize(
    "name", ["Sale", "  Sale  ", "促销", "Été – 1 % off", "عرض", "👩\u200d👩\u200d👧", "x" * NAME_LENGTH]
)
def test_a_name_in_any_script(name: str) -> None:
    assert name_errors("A name", name) == []


@pytest.mark.parametrize("name", ["", "   ", "x" * (NAME_LENGTH + 1)])
def test_a_name_of_no_or_too_many_characters(name: str) -> None:
    (error,) = name_errors("A task's name", name)

    assert isinstance(error, InvalidInput)
    assert error.message == "A task's name has 1 to 64 characters."


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "a\x1b[2Jb", "elas\u202egnp.exe", "half \ud800 a pair"])
def test_a_name_that_would_not_show_as_it_is_written(name: str) -> None:
    (error,) = name_errors("A name", name)

    assert error.message == "A name has no control characters."
