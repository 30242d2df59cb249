"""base58btc, the text form of public keys in `did:key` and DID documents.

A number in base 58, so decoding takes time with the square of the length. Nothing here is longer than an
uncompressed point, and longer text is refused before the first digit is looked at.
"""

from typing import Final

from zlay_py.errors import KeyFormatError

# The longest value anyone sends is a key of 65 bytes with its codec of 2: 92 characters. The bound is the next
# round number above.
TEXT_CHARS_MAX: Final = 96

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {character: digit for digit, character in enumerate(_ALPHABET)}


def encode(data: bytes) -> str:
    """Base58btc text, without a multibase prefix. Each leading zero byte is one leading `1`."""
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "1" * zeros + "".join(reversed(digits))


def decode(text: str) -> bytes:
    """The bytes of base58btc text without a multibase prefix, at most TEXT_CHARS_MAX characters.

    Raises KeyFormatError on a longer text or any character outside the alphabet, spaces included.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise KeyFormatError(f"base58 text of more than {TEXT_CHARS_MAX} characters")
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            raise KeyFormatError("a character outside the base58 alphabet")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
