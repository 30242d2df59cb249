"""Query parameters, strictly: out of range is an error, never clamped (as the reference servers do)."""

import re

import falcon

from zlay_py.api.errors import invalid_request
from zlay_py.atproto import syntax

_NUMBER = re.compile(r"[0-9]{1,18}")


def number(req: falcon.Request, name: str, *, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    text = req.get_param(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise invalid_request(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def did(req: falcon.Request) -> str:
    """The required parameter `did`."""
    text = req.get_param("did")
    if text is None:
        raise invalid_request("did is required")
    if not syntax.is_did(text):
        raise invalid_request("did is not a DID")
    return text


def text(req: falcon.Request, name: str, *, chars_max: int) -> str:
    """A required parameter of bounded length."""
    value = req.get_param(name)
    if not value:
        raise invalid_request(f"{name} is required")
    if len(value) > chars_max:
        raise invalid_request(f"{name} is longer than {chars_max} characters")
    return value
