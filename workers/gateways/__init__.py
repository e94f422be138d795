"""The ways out: each module holds one implementation of `domain.ports.Gateway`."""

from domain.ports import Gateway
from workers.gateways.simulator import SimulatorGateway
from workers.gateways.smpp import SmppGateway
from workers.gateways.urls import GatewayUrl


def open_gateway(name: str, url: str) -> Gateway:
    """Make the gateway a URL describes; it connects when it is started.

    `smpp://system_id:password@host:port?window=100&rate=1000` or `simulator://?window=1000`. Raises
    ValueError, one line that never contains the password, for an unknown scheme or parameter and for any bad
    value.
    """
    parsed = GatewayUrl(name, url)
    if parsed.scheme == "smpp":
        return SmppGateway.from_url(parsed)
    if parsed.scheme == "simulator":
        return SimulatorGateway.from_url(parsed)
    return parsed.refuse("its URL must begin with smpp:// or simulator://")


__all__ = ["open_gateway"]
