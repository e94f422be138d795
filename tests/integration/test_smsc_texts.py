"""The simulated message centre's journal reads whatever our gateway can send."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from domain.ports import Inbound, Outcome, Submission
from domain.segments import segment
from domain.states import Region
from tests.integration.message_centre import simulated_centre, until
from workers.gateways import open_gateway

TEXTS = {
    "8613800131001": "Short: @£[~]€ à",
    "8613800131002": "Long enough for two segments, with {brackets} and the like. " * 4,
    "8613800131003": "【商店】短信",
    "8613800131004": "【商店】一条要分成两段的短信，里面还有一个表情 🎉。" * 4,
}


async def sink(inbound: Sequence[Inbound]) -> None:
    """Receipts are of no interest here."""


@pytest.mark.parametrize("long_text", ["udh", "sar", "payload"])
@pytest.mark.parametrize("alphabet", ["gsm7", "gsm7-packed", "latin1"])
async def test_the_texts_are_read_back(tmp_path: Path, alphabet: str, long_text: str) -> None:
    flags = ("--alphabet", alphabet, "--receipt-delay", "60")
    texts = {
        number: text.replace("€", "") if alphabet == "latin1" else text for number, text in TEXTS.items()
    }
    async with simulated_centre(tmp_path, *flags) as centre:
        gateway = open_gateway("default", centre.url(f"alphabet={alphabet}&long_text={long_text}"))
        await gateway.start(sink)
        await gateway.ready()
        for number, text in texts.items():
            content = segment(text, Region.INTERNATIONAL)
            submission = Submission(content, f"+{number}", "10690", references=(7,) * len(content.segments))
            assert (await gateway.submit(submission)).outcome is Outcome.ACCEPTED
        await gateway.close()
        await until(lambda: centre.events("disconnect"))
        events = centre.events("submit_sm")

    said = {number: [each for each in events if each["destination"] == number] for number in texts}
    assert {number: "".join(each["text"] for each in parts) for number, parts in said.items()} == texts
    for parts in said.values():
        assert [each["segment"] for each in parts] == list(range(1, len(parts) + 1))
        assert {each["segments"] for each in parts} == {len(parts)}
        assert len({each["reference"] for each in parts}) == 1
    assert (len(events) > len(texts)) == (long_text != "payload")
