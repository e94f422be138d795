"""The ways out: each module holds one implementation of `domain.ports.Gateway`."""

from collections.abc import Callable
from uuid import UUID

from domain.ports import Gateway
from workers.gateways.huawei_url import SCHEMES as HUAWEI_SCHEMES
from workers.gateways.huawei_url import open_huawei
from workers.gateways.simulator import SimulatorGateway
from workers.gateways.smpp import SmppGateway
from workers.gateways.urls import GatewayUrl


def open_gateway(
    name: str, url: str, worker: UUID | None = None, own_address: Callable[[], str] | None = None
) -> Gateway:
    """Make the gateway a URL describes; it connects when it is started.

    `smpp://system_id:password@host:port?window=100&rate=1000`, `smpps://…`,
    `huawei://app_key:app_secret@host:port`, or `simulator://?window=1000`.
    With `worker`, this process's own, it shares binds and rate with other workers by way of the database;
    without, it has all for itself. `own_address` tells where a platform that reports by HTTP finds us. Raises
    ValueError, one line that never contains the password, for an unknown scheme or parameter and for any bad
    value.
    """
    parsed = GatewayUrl(name, url)
    if parsed.scheme in ("smpp", "smpps"):
        return SmppGateway.from_url(parsed, worker)
    if parsed.scheme == "simulator":
        return SimulatorGateway.from_url(parsed)
    if parsed.scheme in HUAWEI_SCHEMES:
        return open_huawei(parsed, shared=worker is not None, own_address=own_address)
    return parsed.refuse("its URL must begin with smpp://, smpps://, huawei:// or simulator://")


__all__ = ["open_gateway"]
