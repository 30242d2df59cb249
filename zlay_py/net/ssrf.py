"""Which addresses we may connect to. Anyone can make a relay connect somewhere: by requestCrawl, by a DID document,
by a redirect. So that none of this reaches into the operator's own network, every address is checked after DNS and
right before `connect`, and exactly the checked address is connected to.

Pure: no DNS and no sockets here. Source: draft-holmgren-at-repository (SSRF protection is a MUST), RFC 6890.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

PUBLIC_PORTS = frozenset({80, 443})

_V4_REFUSED = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: cloud metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_V6_GLOBAL = IPv6Network("2000::/3")
"""All of the global unicast space that is handed out. Mapped (::ffff:0:0/96), unique-local, link-local, multicast
and loopback addresses lie outside of it."""
_V6_REFUSED = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments; Teredo (2001::/32) carries a v4 address inside
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: a v4 address inside
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052. On a machine with IPv6 only, DNS64 gives every v4 host such an address; the v4 address inside decides."""
_LOOPBACK_V4 = IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = IPv6Address("::1")


class AddressGuard:
    """Says yes or no to one address and port. `allow_loopback` is for development: any port, on loopback only."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self.allow_loopback = allow_loopback

    def allows(self, ip: str, port: int) -> bool:
        """True when we may connect there. `ip` is an address, not a name; anything else is refused."""
        if "%" in ip or not 0 < port <= 65_535:  # a zone index means link-local
            return False
        try:
            address = ip_address(ip)
        except ValueError:
            return False
        if self.allow_loopback and (address in _LOOPBACK_V4 or address == _LOOPBACK_V6):
            return True
        return port in PUBLIC_PORTS and _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _V4_REFUSED)
    if address in _NAT64:
        return _is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _V6_GLOBAL and not any(address in network for network in _V6_REFUSED)
