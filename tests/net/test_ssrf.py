import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.net.ssrf import AddressGuard

PRODUCTION = AddressGuard(allow_loopback=False)
DEVELOPMENT = AddressGuard(allow_loopback=True)

REFUSED_EVERYWHERE = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:10::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "4000::1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450::1",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("ip", REFUSED_EVERYWHERE)
def test_private_and_reserved_addresses_are_refused_also_in_development(ip: str) -> None:
    assert not PRODUCTION.allows(ip, 443)
    assert not DEVELOPMENT.allows(ip, 443)


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_addresses_are_allowed_on_web_ports_only(ip: str) -> None:
    for guard in (PRODUCTION, DEVELOPMENT):
        assert guard.allows(ip, 443)
        assert guard.allows(ip, 80)
        for port in (0, 22, 79, 81, 8080, 8443, 65_535, -443, 65_979):
            assert not guard.allows(ip, port)


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.255.255.255", "::1"])
def test_loopback_is_for_development_and_there_on_any_port(ip: str) -> None:
    for port in (80, 443, 1, 18_201, 65_535):
        assert not PRODUCTION.allows(ip, port)
        assert DEVELOPMENT.allows(ip, port)
    assert not DEVELOPMENT.allows(ip, 0)
    assert not DEVELOPMENT.allows(ip, 65_536)


@pytest.mark.parametrize(
    "text", ["", "localhost", "pds.example.com", "127.1", "0x7f.0.0.1", "2130706433", "8.8.8.08", " 8.8.8.8"]
)
def test_what_is_not_a_plain_address_is_refused(text: str) -> None:
    assert not DEVELOPMENT.allows(text, 443)


@given(st.ip_addresses(v=6))
def test_of_ipv6_only_the_handed_out_space_and_nat64_can_pass(address: object) -> None:
    text = str(address)
    if PRODUCTION.allows(text, 443):
        assert text[0] in "23" or text.startswith("64:ff9b::")


@given(st.ip_addresses(v=4))
def test_the_v4_inside_a_nat64_address_decides(address: object) -> None:
    assert PRODUCTION.allows(f"64:ff9b::{address}", 443) == PRODUCTION.allows(str(address), 443)
