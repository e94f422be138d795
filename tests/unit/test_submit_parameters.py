"""What a gateway's URL may say of its submit_sm, and what is told of a wrong value."""

import pytest

from workers.gateways import open_gateway
from workers.gateways.smpp import PARAMETERS
from workers.gateways.submit_parameters import take
from workers.gateways.urls import GatewayUrl
from workers.smpp.submit_options import Alphabet, LongText, SubmitOptions


def options_of(query: str) -> SubmitOptions:
    given = GatewayUrl("default", f"smpp://u:p@host?{query}").read(PARAMETERS)
    options = take(given)
    assert given.keys() <= {"window"}, "what is not about submit_sm is left for others, the rest is taken"
    return options


def test_nothing_said_is_what_most_carriers_take() -> None:
    assert options_of("window=7") == SubmitOptions()
    assert SubmitOptions() == SubmitOptions(
        source_ton=None,
        source_npi=None,
        dest_ton=1,
        dest_npi=1,
        dest_prefix="",
        service_type="",
        validity=0,
        alphabet=Alphabet.GSM7,
        data_coding=None,
        long_text=LongText.UDH,
        user_message_reference=True,
    )


def test_everything_may_be_said() -> None:
    assert options_of(
        "source_ton=5&source_npi=0&dest_ton=2&dest_npi=8&dest_prefix=plus&service_type=CMT&validity=86400"
        "&alphabet=latin1&data_coding=0&long_text=sar&user_message_reference=no&window=7"
    ) == SubmitOptions(
        source_ton=5,
        source_npi=0,
        dest_ton=2,
        dest_npi=8,
        dest_prefix="+",
        service_type="CMT",
        validity=86_400,
        alphabet=Alphabet.LATIN_1,
        data_coding=0,
        long_text=LongText.SAR,
        user_message_reference=False,
    )


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("alphabet=gsm7-packed", SubmitOptions(alphabet=Alphabet.GSM7_PACKED)),
        ("long_text=payload", SubmitOptions(long_text=LongText.PAYLOAD)),
        ("dest_prefix=00", SubmitOptions(dest_prefix="00")),
        ("dest_prefix=none", SubmitOptions()),
        ("user_message_reference=yes", SubmitOptions()),
        ("validity=259200", SubmitOptions(validity=259_200)),
    ],
)
def test_each_choice(query: str, wanted: SubmitOptions) -> None:
    assert options_of(query) == wanted


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("source_ton=7", "source_ton must be a whole number from 0 to 6"),
        ("source_npi=19", "source_npi must be a whole number from 0 to 18"),
        ("dest_ton=one", "dest_ton must be a whole number from 0 to 6"),
        ("dest_npi=-1", "dest_npi must be a whole number from 0 to 18"),
        ("dest_prefix=%2B", "dest_prefix must be none or plus or 00"),
        ("service_type=TOOLONG", "service_type must be at most 5 ASCII characters"),
        ("validity=59", "validity must be a whole number from 60 to 259200"),
        ("validity=259201", "validity must be a whole number from 60 to 259200"),
        ("validity=24h", "validity must be a whole number from 60 to 259200"),
        ("alphabet=ucs2", "alphabet must be gsm7 or gsm7-packed or latin1"),
        ("data_coding=256", "data_coding must be a whole number from 0 to 255"),
        ("data_coding=8", "data_coding is for texts that are not UCS-2; 8 would make the centre read them"),
        ("long_text=tlv", "long_text must be udh or sar or payload"),
        ("user_message_reference=true", "user_message_reference must be yes or no"),
    ],
)
def test_a_wrong_value_is_one_clear_line(query: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        open_gateway("default", f"smpp://u:s3cr3t@host?{query}")

    said = str(refused.value)
    assert said.startswith("gateway default: ")
    assert "\n" not in said
    assert "s3cr3t" not in said
