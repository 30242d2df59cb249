"""Every exception this project raises on purpose, in one tree.

Owns: the two error worlds. `RemoteError`: a peer sent or did something wrong; the caller counts it, drops
that one thing and goes on. `LocalError`: our own files, settings or machine are at fault; the caller
stops, loudly. Refuses to own: the reasons why an event was dropped (`ingest.outcome.DropReason`).
"""


class ZlayError(Exception):
    """The root. Never raised itself."""


class RemoteError(ZlayError):
    """Somebody else's fault: count it, drop the thing it came from, go on."""


class InvalidDataError(RemoteError):
    """Bytes or text that break the protocol. Every decoder in `atproto` raises this or a subclass, only this."""


class SyntaxInvalidError(InvalidDataError):
    """An identifier (DID, handle, NSID, TID, record key, AT-URI, CID, datetime) is not well formed."""


class CborError(InvalidDataError):
    """Not strict DAG-CBOR: malformed, not canonical, or outside the data model."""


class CarError(InvalidDataError):
    """Not a well-formed CAR v1 slice, or a block that does not match its CID."""


class CommitError(InvalidDataError):
    """Not a valid commit object, version 3."""


class KeyFormatError(InvalidDataError):
    """Not a public key that we know how to read."""


class DidDocumentError(InvalidDataError):
    """A DID document that can't belong to the DID that was asked for, or is no document at all."""


class MstError(InvalidDataError):
    """A tree slice that is malformed, not canonical, or over a limit."""


class InversionError(InvalidDataError):
    """The operations of a commit do not lead back from its tree to the previous one."""


class FrameError(InvalidDataError):
    """Event-stream framing is broken: the connection it came from can't be trusted any further."""


class EventInvalidError(InvalidDataError):
    """A well-framed event that breaks the lexicon (missing field, wrong type, over a limit): drop this event only."""


class NetError(RemoteError):
    """A connection, request or handshake failed. `kind` is one of `net.failures.FailureKind`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class LocalError(ZlayError):
    """Our own fault or our own machine's."""


class ConfigError(LocalError):
    """A setting is wrong. The message names it; the process exits with status 2."""


class CorruptionError(LocalError):
    """A file of ours is not what we wrote. The message names file, offset and what to do. Stop."""


class StorageFullError(LocalError):
    """The disk took only a part of a write, or none. Nothing is lost: keep the batch and try again."""


class StorageFailedError(LocalError):
    """A write or fsync failed for another reason than space: what is on disk is unknown. Stop."""


class OwnershipError(LocalError):
    """Another process group owns the data directory."""
