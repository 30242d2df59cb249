import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.atproto import base58
from zlay_py.errors import KeyFormatError

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@given(st.binary(max_size=68))
def test_round_trip_and_agreement_with_another_codec(data: bytes) -> None:
    text = base58.encode(data)
    assert base58.decode(text) == data
    assert libipld.encode_multibase("z", data) == "z" + text


@given(st.text(alphabet=ALPHABET, max_size=base58.TEXT_CHARS_MAX))
def test_every_text_in_the_alphabet_has_its_one_value(text: str) -> None:
    data = base58.decode(text)
    assert base58.encode(data) == text
    assert libipld.decode_multibase("z" + text) == ("z", data)


@given(st.text(), st.text(alphabet=ALPHABET + "0OIl +/=-_\n"))
def test_any_text_gives_bytes_or_our_error(one: str, two: str) -> None:
    for text in (one, two):
        try:
            data = base58.decode(text)
        except KeyFormatError:
            assert len(text) > base58.TEXT_CHARS_MAX or set(text) - set(ALPHABET)
        else:
            assert base58.encode(data) == text


def test_known_values() -> None:
    # The examples of draft-msporny-base58-03.
    assert base58.encode(b"Hello World!") == "2NEpo7TZRRrLZSi2U"
    assert base58.encode(bytes.fromhex("0000287fb4cd")) == "11233QC4"
    assert base58.decode("11233QC4") == bytes.fromhex("0000287fb4cd")
    assert base58.encode(b"") == ""
    assert base58.decode("") == b""
    assert base58.decode("1111") == bytes(4)


@pytest.mark.parametrize("character", "0OIl \n\t=+/é１")
@pytest.mark.parametrize("place", ["{}2NEpo", "2N{}Epo", "2NEpo{}"])
def test_characters_outside_the_alphabet_are_refused(character: str, place: str) -> None:
    with pytest.raises(KeyFormatError):
        base58.decode(place.format(character))


def test_text_over_the_limit_is_refused_whatever_it_says() -> None:
    assert base58.decode("1" * base58.TEXT_CHARS_MAX) == bytes(base58.TEXT_CHARS_MAX)
    for text in ("1" * (base58.TEXT_CHARS_MAX + 1), "z" * 5_000_000):
        with pytest.raises(KeyFormatError, match="characters"):
            base58.decode(text)


def test_the_limit_holds_the_longest_key() -> None:
    assert len(base58.encode(b"\xff" * 67)) <= base58.TEXT_CHARS_MAX
