"""The accounts of a world: who they are, where they live, with which keys they sign."""

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from tools.simulator.model import AccountEnd, Document
from tools.simulator.times import CLOCK_IDS, tid
from tools.simulator.worlds.frames import Fields
from tools.simulator.worlds.keys import Curve, Signer, derive
from tools.simulator.worlds.repo import Repo

_PLC_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PLC_LENGTH: Final = 24


@dataclass(eq=False)
class Account:
    """One account. `number`: its place among the world's accounts. `status`: None while active, empty where its host
    gives no reason, else as in `#account`. `limited`: what that says beside being active.

    `former_keys`: those that its DID document named before, the newest last. `former_hosts`: likewise.
    `said`: the last `#commit` that its host sent, without the seq; None if its key is newer.
    `introduced`: its host has told of it. `rekeyed`: its last commit has a signature of a former key.
    """

    seed: int
    number: int
    did: str
    handle: str
    host: int
    signer: Signer
    repo: Repo
    status: str | None = None
    limited: str | None = None
    introduced: bool = False
    documented: bool = False
    tombstoned: bool = False
    rekeyed: bool = False
    former_keys: list[Signer] = field(default_factory=list)
    former_hosts: list[int] = field(default_factory=list)
    said: Fields | None = None

    @property
    def active(self) -> bool:
        return self.status is None

    @property
    def said_status(self) -> str | None:
        """What `#account` has to say of it, beside `active`."""
        return self.status or self.limited

    @property
    def rev(self) -> str | None:
        """That of its last commit."""
        return self.repo.head.rev if self.repo.head else None

    def document(self) -> Document:
        """What its DID document says."""
        return Document(self.handle, self.signer.did_key, self.host)

    def take_new_key(self, curve: Curve) -> None:
        """From here on the account signs with another key. What it has said before can't be repeated any more:
        that would be wrong in two ways."""
        self.said = None
        self.former_keys.append(self.signer)
        self.signer = derive(curve, self.seed, self.did, len(self.former_keys))

    def rev_at(self, time_us: int) -> str:
        """The rev that a commit of that moment has."""
        return tid(time_us, self.number % CLOCK_IDS)

    def end(self) -> AccountEnd:
        return AccountEnd(self.did, self.host, self.active, self.said_status, self.rev)


def make_account(
    seed: int, number: int, host: int, curve: Curve, *, did: str | None = None, records: int = 0, record_bytes: int = 0
) -> Account:
    """An account that nobody has heard of. `did`: None for a did:plc that goes with the seed and the number."""
    did = did or plc_did(seed, number)
    repo = Repo(did, records, record_bytes)
    return Account(seed, number, did, f"user{number}.host{host}.test", host, derive(curve, seed, did, 0), repo)


def plc_did(seed: int, number: int) -> str:
    """A did:plc for every number; negative ones for DIDs that no directory knows."""
    digest = sha256(f"plc/{seed}/{number}".encode()).digest()
    return "did:plc:" + "".join(_PLC_LETTERS[byte & 31] for byte in digest[:_PLC_LENGTH])
