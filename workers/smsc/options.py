"""The flags of the simulated message centre, grouped as its help shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from workers.smpp.pdu import Status
from workers.smpp.submit_options import Alphabet
from workers.smsc.behaviour import Behaviour, IdForm, ReceiptsFor, Refusal
from workers.smsc.receipt_form import ReceiptForm, ReceiptText


class _Seconds(click.FloatRange):
    name = "SECONDS"


class _Count(click.IntRange):
    name = "N"


SECONDS: Final = _Seconds(0, 86_400)
SOME_SECONDS: Final = _Seconds(0.05, 86_400)
COUNT: Final = _Count(1, 1_000_000_000)
PATH: Final = click.Path(dir_okay=False, path_type=Path)


class _OneOf(click.ParamType[Any]):
    """A member of an enumeration, by its value."""

    name = "choice"

    def __init__(self, kind: type[Enum]) -> None:
        self._kind = kind

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        return "|".join(str(member.value) for member in self._kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Enum:
        if isinstance(value, Enum):
            return value
        try:
            return self._kind(value)
        except ValueError:
            names = ", ".join(str(member.value) for member in self._kind)
            self.fail(f"{value!r} is not one of {names}", param, ctx)


class _RefusalType(click.ParamType[Any]):
    """`50:ESME_RMSGQFUL`: one in fifty, with the status by its name or as 0x410."""

    name = "N:STATUS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Refusal:
        if isinstance(value, Refusal):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,8}):(?:0x([0-9A-Fa-f]{1,8})|(ESME_[A-Z_]+))", value)
        status = 0
        if found is not None:
            named = Status.__members__.get(found[3] or "")
            status = int(found[2], 16) if found[2] else (named or 0)
        if found is None or not status:
            self.fail(f"{value!r} is not like 50:ESME_RMSGQFUL or 50:0x410", param, ctx)
        return Refusal(int(found[1]), status)


class _ReceiptTextType(click.ParamType[Any]):
    name = "TEMPLATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            ReceiptText(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class SectionedOption(click.Option):
    """An option that knows under which heading the help shows it."""

    def __init__(self, flags: Sequence[str], *, section: str, **more: Any) -> None:
        """Without a `default`, take that of the field of `Behaviour` that has the flag's name."""
        default = getattr(Behaviour(), flags[0].removeprefix("--").replace("-", "_"), None)
        more.setdefault("default", default)
        more.setdefault("show_default", default not in (None, (), False))
        super().__init__(flags, **more)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """Leave out the range, which is wide and said by an error; show a choice as it is written."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        if isinstance(self.default, Enum):
            extra["default"] = str(self.default.value)
        return extra


class SectionedCommand(click.Command):
    """A command whose help has a heading for each group of options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(option, "section", "Other options"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


_listening = partial(SectionedOption, section="Where and how")
_bind = partial(SectionedOption, section="Binds")
_answer = partial(
    SectionedOption, section="Answers to submit_sm (the Nth is counted over all binds, whatever became of it)"
)
_moment = partial(SectionedOption, section="When receipts come")
_look = partial(SectionedOption, section="What receipts look like")
OPTIONS: Final = (
    _listening(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
    _listening(
        ["--port"],
        default=2775,
        show_default=True,
        type=click.IntRange(0, 65535),
        metavar="N",
        help="0 picks a free one.",
    ),
    _listening(["--tls-cert"], type=PATH, help="PEM file of a certificate chain: speak TLS."),
    _listening(["--tls-key"], type=PATH, help="PEM file of its key, unless that is in --tls-cert."),
    _listening(["--journal"], type=PATH, help="File to append what happened to, see below."),
    _listening(
        ["--step"],
        multiple=True,
        metavar="'WHEN WHAT...'",
        help="Change the behaviour while it runs, see below; may be given more than once.",
    ),
    _listening(["--script"], type=PATH, help="File of steps, one a line; what follows a # is a remark."),
    _listening(
        ["--commands"],
        is_flag=True,
        help="Read steps without a moment from standard input, one a line, and take them at once.",
    ),
    _bind(["--system-id"], help="The only system_id to let in; without it any is."),
    _bind(["--password"], help="The password to ask for; without it any will do."),
    _bind(
        ["--max-binds"],
        type=COUNT,
        help="Binds of one system_id at a time; one more is answered ESME_RALYBND.",
    ),
    _bind(["--refuse-binds"], type=SECONDS, help="For so many seconds, answer every bind ESME_RBINDFAIL."),
    _bind(
        ["--idle-timeout"], type=SOME_SECONDS, help="Seconds of silence after which a connection is closed."
    ),
    _bind(["--unbind-every"], type=SOME_SECONDS, help="Seconds after its bind that every peer is unbound."),
    _answer(
        ["--response-delay"],
        type=SECONDS,
        help="Seconds until anything is answered.",
    ),
    _answer(
        ["--response-jitter"],
        type=SECONDS,
        help="Up to so many seconds more, by chance: answers come out of order.",
    ),
    _answer(
        ["--rate"],
        type=_Count(1, 1_000_000),
        help="submit_sm taken in any second, over all binds; any more are answered ESME_RTHROTTLED.",
    ),
    _answer(
        ["--refuse-every"],
        type=_RefusalType(),
        multiple=True,
        help="Answer every Nth with this status, such as 50:ESME_RMSGQFUL or 7:0x410; may be "
        "given more than once.",
    ),
    _answer(["--silent-every"], type=COUNT, help="Take every Nth and never answer it."),
    _answer(
        ["--drop-every"],
        type=COUNT,
        help="At every Nth, drop its connection: this one and those read along with it are taken, "
        "and neither they nor any whose answer is still delayed are ever answered.",
    ),
    _moment(
        ["--receipt-delay"],
        type=SECONDS,
        help="Seconds from a submit_sm to its delivery receipt.",
    ),
    _moment(
        ["--receipt-jitter"],
        type=SECONDS,
        help="Up to so many seconds more, by chance: receipts come out of order.",
    ),
    _moment(["--receipt-first"], is_flag=True, help="Send the receipt at once, before submit_sm_resp."),
    _moment(
        ["--receipt-copies"],
        type=_Count(1, 100),
        metavar="N",
        help="Send each receipt so many times.",
    ),
    _moment(
        ["--stray-every"],
        type=COUNT,
        help="With the receipts of every Nth message accepted, send two UNDELIV err:099 that belong "
        "to nothing: one with an id never given out, one with this id and another number.",
    ),
    _moment(
        ["--resend-after"],
        type=SOME_SECONDS,
        help="Seconds until a receipt that was not acknowledged is sent again.",
    ),
    _moment(
        ["--receipt-window"],
        type=_Count(1, 100_000),
        help="Receipts on the wire at once, for each bind.",
    ),
    _look(["--ids"], type=_OneOf(IdForm), help="How submit_sm_resp writes message ids."),
    _look(
        ["--receipt-ids"], type=_OneOf(IdForm), help="How receipts write them, if not as submit_sm_resp does."
    ),
    _look(
        ["--first-id"],
        type=_Count(0, 2**63),
        help="The first message id, as a decimal number; ids count up from it. By default it is "
        "random and long.",
    ),
    _look(
        ["--receipts-for"],
        type=_OneOf(ReceiptsFor),
        help="A receipt for each segment, or one for a message, with the id of its first or last one.",
    ),
    _look(
        ["--receipt-form"],
        type=_OneOf(ReceiptForm),
        help="Say it in the text, in the parameters receipted_message_id and message_state, or in both.",
    ),
    _look(
        ["--receipt-text"],
        type=_ReceiptTextType(),
        help="The text, with {id}, {dlvrd}, {submitted}, {done}, {stat}, {err} and {text}; dates have "
        "12 digits, {done:10} has 10 and {done:14} 14. Leave fields out and name them as you like.",
    ),
    _look(["--receipt-ucs2"], is_flag=True, help="Write the text in UCS-2."),
    _look(
        ["--echo-reference"],
        is_flag=True,
        help="Repeat the user_message_reference of the submit_sm in its receipts.",
    ),
    _look(
        ["--alphabet"],
        type=_OneOf(Alphabet),
        help="What data_coding 0 means, for the text in the journal and in receipts.",
    ),
)
KNOBS: Final = frozenset(field.name for field in fields(Behaviour))
"""The options that a step can change: those that are a field of `Behaviour`."""


def behaviour_of(given: dict[str, Any]) -> Behaviour:
    """Make the behaviour that the options say, leaving the others out."""
    return Behaviour(**{name: value for name, value in given.items() if name in KNOBS})


def read_knob(flag: str, text: str) -> tuple[str, Any]:
    """Read `rate` and `50` as `--rate 50` is read; `off` is as if it were never given.

    Raises click.BadParameter.
    """
    name = flag.replace("-", "_")
    option = next((option for option in OPTIONS if option.name == name and name in KNOBS), None)
    if option is None:
        raise click.BadParameter(f"there is no {flag!r} to change")
    if text == "off":
        return name, getattr(Behaviour(), name)
    if option.is_flag:
        if text != "on":
            raise click.BadParameter(f"{flag} is on or off")
        return name, True
    convert: Callable[..., Any] = option.type.convert
    value = convert(text, option, None)
    return name, (value,) if option.multiple else value
