import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zlay_py.atproto import syntax
from zlay_py.errors import SyntaxInvalidError

PLC = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
PREDICATES: list[Callable[[object], bool]] = [
    syntax.is_did,
    syntax.is_supported_did,
    syntax.is_handle,
    syntax.is_nsid,
    syntax.is_record_key,
    syntax.is_tid,
    syntax.is_at_identifier,
    syntax.is_at_uri,
    syntax.is_datetime,
    syntax.is_repo_path,
]
every_predicate = pytest.mark.parametrize("predicate", PREDICATES, ids=lambda predicate: predicate.__name__)

labels = st.from_regex("[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
alphabetic_labels = st.from_regex("[a-zA-Z]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
names = st.from_regex("[a-zA-Z][a-zA-Z0-9]{0,30}", fullmatch=True)
nsids = st.builds(
    lambda first, middle, name: ".".join([first, *middle, name]),
    alphabetic_labels,
    st.lists(labels, min_size=1, max_size=4),
    names,
)
handles = st.builds(
    lambda front, tld: ".".join([*front, tld]), st.lists(labels, min_size=1, max_size=4), alphabetic_labels
)
record_keys = st.from_regex("[A-Za-z0-9._:~-]{1,30}", fullmatch=True).filter(lambda key: key not in (".", ".."))
dids = st.from_regex("did:[a-z]{1,8}:[a-zA-Z0-9._:%-]{0,30}[a-zA-Z0-9._-]", fullmatch=True)
# Text that gets far into every expression, and whole identifiers with one thing wrong.
near_text = st.text(alphabet="ad2Z.:/-%~_*\n é", max_size=40)


@every_predicate
@given(value=st.text() | near_text | st.none() | st.integers() | st.binary() | st.lists(st.text(), max_size=2))
def test_any_value_is_answered_and_what_is_no_text_is_no_identifier(
    predicate: Callable[[object], bool], value: object
) -> None:
    answer = predicate(value)
    assert answer is True or answer is False
    if not isinstance(value, str):
        assert answer is False


@every_predicate
@given(text=st.one_of(dids, handles, nsids, record_keys, st.just("3jzfcijpj2z2a"), st.just("1985-04-12T23:20:50Z")))
def test_no_identifier_survives_white_space_or_foreign_digits(predicate: Callable[[object], bool], text: str) -> None:
    for wrong in (text + "\n", "\n" + text, text + " ", " " + text, text + "\0", text + "٣", text + "é"):
        assert not predicate(wrong)


@every_predicate
@pytest.mark.parametrize("piece", ["a", "a.", "a-", "-", ".", "a:", "did:a:", "at://a.", "a/", "%", "0", "~"])
def test_hostile_length_is_answered_at_once(predicate: Callable[[object], bool], piece: str) -> None:
    for text in (piece * 200, piece * 2000, piece * 200_000, piece * 60 + "!", piece * 800 + "!"):
        started = time.process_time()
        predicate(text)
        assert time.process_time() - started < 0.1


@given(dids)
def test_dids(did: str) -> None:
    assert syntax.is_did(did)
    assert syntax.is_at_identifier(did)
    assert syntax.is_at_uri(f"at://{did}")


@given(handles)
def test_handles(handle: str) -> None:
    assert syntax.is_handle(handle)
    assert syntax.is_at_identifier(handle)
    assert syntax.is_at_uri(f"at://{handle}")
    assert syntax.normalise_handle(handle) == handle.lower() == syntax.normalise_handle(handle.upper())


@given(nsids, record_keys)
def test_collections_and_record_keys_make_repository_paths(nsid: str, record_key: str) -> None:
    assert syntax.is_nsid(nsid)
    assert syntax.is_record_key(record_key)
    assert syntax.is_repo_path(f"{nsid}/{record_key}")
    assert syntax.is_at_uri(f"at://{PLC}/{nsid}/{record_key}")


@given(near_text | st.text(), near_text | st.text())
def test_a_repository_path_is_exactly_an_nsid_and_a_record_key(left: str, right: str) -> None:
    whole = f"{left}/{right}"
    collection, _, record_key = whole.partition("/")
    assert syntax.is_repo_path(whole) == (syntax.is_nsid(collection) and syntax.is_record_key(record_key))


@pytest.mark.parametrize(
    "path",
    ["", "/", "app.bsky.feed.post", "app.bsky.feed.post/", "/app.bsky.feed.post/a", "app.bsky.feed.post/a/b",
     "app.bsky.feed.post/.", "app.bsky.feed.post/..", "app.bsky/a", "app.bsky.feed.post//a", "app.bsky.feed.post/a\n",
     "app.bsky.feed.post/#", "A0/374913"],
)  # fmt: skip
def test_what_is_no_repository_path(path: str) -> None:
    assert not syntax.is_repo_path(path)


def test_dots_are_record_keys_when_they_are_more_than_two() -> None:
    assert [syntax.is_record_key("." * n) for n in range(1, 5)] == [False, False, True, True]
    assert syntax.is_record_key(".a")
    assert syntax.is_repo_path("app.bsky.feed.post/...")


def test_lengths_are_the_specifications() -> None:
    def dotted(count: int) -> str:
        """`count` characters of labels, the last of them alphabetic."""
        return ("a" * 62 + ".") * 4 + "a" * (count - 252) if count > 252 else "a." * (count // 2) + "a" * (count % 2)

    assert [syntax.is_did("did:web:" + "a" * (n - 8)) for n in (2048, 2049)] == [True, False]
    assert [syntax.is_handle(dotted(n)) for n in (253, 254)] == [True, False]
    assert [syntax.is_handle("a" * n + ".com") for n in (63, 64)] == [True, False]
    assert [syntax.is_handle("a." + "b" * n) for n in (63, 64)] == [True, False]
    assert [syntax.is_record_key("a" * n) for n in (0, 1, 512, 513)] == [False, True, True, False]
    assert [syntax.is_nsid(f"{dotted(253)}.{'n' * n}") for n in (63, 64)] == [True, False]
    assert [syntax.is_nsid("a." * 150 + "n" * n) for n in (17, 18)] == [True, False]
    assert [syntax.is_repo_path("a." * 150 + "n" * n + "/key") for n in (17, 18)] == [True, False]
    assert syntax.is_repo_path(f"{dotted(253)}.{'n' * 63}/{'k' * 512}")
    assert not syntax.is_repo_path(f"{dotted(253)}.{'n' * 63}/{'k' * 513}")


def test_the_longest_at_uri_is_longer_than_any_of_its_parts_together() -> None:
    longest = f"at://did:web:{'a' * 2040}/com.example.record/{'k' * 512}"
    assert syntax.is_at_uri(longest)
    assert not syntax.is_at_uri(longest + "k")


@pytest.mark.parametrize(
    ("did", "supported"),
    [
        (PLC, True),
        (PLC[:-1], False),
        (PLC + "a", False),
        (PLC.replace("e", "1"), False),
        (PLC.upper(), False),
        (PLC + "\n", False),
        ("did:web:example.com", True),
        ("did:web:Pds.Example.COM", True),
        ("did:web:example.test", True),
        ("did:web:localhost", True),
        ("did:web:localhost%3A2583", True),
        ("did:web:localhost%3A65536", False),
        ("did:web:localhost%3A0", False),
        ("did:web:localhost%3A", False),
        ("did:web:localhost:2583", False),
        ("did:web:example.com%3A8080", False),
        ("did:web:example.com:user", False),
        ("did:web:com", False),
        ("did:web:127.0.0.1", False),
        ("did:web:a.local", False),
        ("did:web:a.localhost", False),
        ("did:web:a.ONION", False),
        ("did:web:", False),
        ("did:web:.", False),
        ("did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo", False),
        ("example.com", False),
    ],
)
def test_supported_dids(did: str, supported: bool) -> None:
    assert syntax.is_supported_did(did) is supported


@given(dids)
def test_a_supported_did_is_a_did(did: str) -> None:
    if syntax.is_supported_did(did):
        assert did.startswith(("did:plc:", "did:web:"))


@given(
    st.builds("did:web:{}".format, handles)
    | st.builds("did:plc:{}".format, st.from_regex("[a-z2-7]{24}", fullmatch=True))
)
def test_a_supported_did_passes_the_general_syntax(did: str) -> None:
    assert syntax.is_did(did)
    host = did.removeprefix("did:web:")
    assert syntax.is_supported_did(did) == (did.startswith("did:plc:") or not syntax.has_reserved_tld(host))


@pytest.mark.parametrize("tld", sorted(syntax.RESERVED_TLDS))
def test_reserved_names_have_the_form_of_a_handle(tld: str) -> None:
    assert syntax.is_handle(f"alice.{tld}")
    assert syntax.has_reserved_tld(f"alice.{tld.upper()}")
    assert not syntax.has_reserved_tld(f"{tld}.com")


def test_a_name_for_development_is_not_reserved() -> None:
    assert not syntax.has_reserved_tld("alice.test")


@pytest.mark.parametrize(
    "text", ["", "com", "example.com.", ".example.com", "exa_mple.com", "jo@hn.test", "did:web:a.b"]
)
def test_normalising_what_is_no_handle_is_our_error(text: str) -> None:
    with pytest.raises(SyntaxInvalidError):
        syntax.normalise_handle(text)


@pytest.mark.parametrize(
    "uri",
    ["at://", f"at://{PLC}/", f"at://{PLC}/a.b.c/", f"at://{PLC}//k", f"at://{PLC}/a.b.c/k/", f"at://{PLC}/a.b.c/k/x",
     f"at://{PLC}?q", f"at://{PLC}#f", f"AT://{PLC}", f"at:{PLC}", f"at://{PLC}/space/a.b.c"],
)  # fmt: skip
def test_what_is_no_at_uri(uri: str) -> None:
    assert not syntax.is_at_uri(uri)
