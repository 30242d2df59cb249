"""The accounts of a world and their hosts, and all the good things that happen to them.

Every method that makes something happen returns what can be seen of it from outside, in order. What it leads to is done
when the method returns, whether anybody plays the steps or not.
Sources: atproto.com/guides/account-lifecycle; atproto.com/specs/account; atproto.com/specs/sync.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.simulator.model import AccountEnd, DocumentChange, Emission, Intent, Step
from tools.simulator.times import TIME_START_US, VirtualClock, tid, timestamp
from tools.simulator.worlds import frames
from tools.simulator.worlds.accounts import Account, make_account
from tools.simulator.worlds.frames import Fields
from tools.simulator.worlds.keys import Curve
from tools.simulator.worlds.outlets import Outlets
from tools.simulator.worlds.repo import COLLECTIONS, Draft, Recipe, Sign, Write

RECORD_BYTES: Final = 400
"""Of a record, on average. With it, frames of repositories of 10,000 records have the size of those in the network."""

PROFILE: Final = "app.bsky.actor.profile/self"

_LIMITS: Final = ("desynchronized", "throttled")
_ODD_STATUSES: Final = ("", "resting")


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """What a world is made from: the same config makes the same bytes, in every process.

    `p256_share`: of the accounts, from 0 to 1. `records_per_repo`: that each repository starts with. `record_bytes`: of
    a record, on average. `web_dids`: given to the first accounts, since only the servers know under which names they
    can be reached.
    """

    seed: int = 1
    hosts: int = 3
    accounts_per_host: int = 4
    p256_share: float = 0.25
    records_per_repo: int = 0
    record_bytes: int = RECORD_BYTES
    start_time_us: int = TIME_START_US
    web_dids: tuple[str, ...] = ()


class Population:
    """Accounts on hosts. Account number n starts on host n modulo the number of hosts."""

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.random = random.Random(f"world/{config.seed}")
        self.clock = VirtualClock(config.start_time_us)
        self.outlets = Outlets(config.hosts, self.clock)
        self.accounts: list[Account] = []
        total = config.hosts * config.accounts_per_host
        if len(config.web_dids) > total:
            raise ValueError("more did:web DIDs than accounts")
        dids = [*config.web_dids, *[None] * (total - len(config.web_dids))]
        for number, did in enumerate(dids):
            self._add(number % config.hosts, did).documented = True
        self._documents = [DocumentChange(account.did, account.document()) for account in self.accounts]

    def documents(self) -> list[DocumentChange]:
        """What the directory says at first."""
        return self._documents.copy()

    def ends(self) -> list[AccountEnd]:
        """How all accounts stand that anybody has heard of."""
        return [account.end() for account in self.accounts if account.introduced]

    def create_account(self, host: int) -> Account:
        """An account that nobody has heard of; see `introduce`."""
        return self._add(host, None)

    def introduce(self, account: Account) -> list[Step]:
        """What a host emits for a new account. Nothing if it has done so before.

        Its first event of its repository is a `#commit`; a `#sync` where there are records already.
        """
        if account.introduced:
            return []
        steps: list[Step] = []
        if not account.documented:
            account.documented = True
            steps.append(DocumentChange(account.did, account.document()))
        account.introduced = True
        steps += self.identity(account)
        steps.append(self._say_account(account))
        if len(account.repo.tree):
            return steps + self.sync(account)
        first = [Write(PROFILE, self._recipe())] if self.random.random() < 0.5 else []
        draft = self.draft(account, writes=first)
        account.repo.adopt(draft)
        return [*steps, self.say_commit(account, frames.commit(draft))]

    def commit(self, account: Account, creates: int = 1, updates: int = 0, deletes: int = 0) -> list[Step]:
        """A commit with so many operations; fewer updates and deletes where there are not so many records.

        Raises ValueError for an account that is not active or not introduced, as everything does that emits.
        """
        draft = self.draft(account, creates, updates, deletes)
        account.repo.adopt(draft)
        return [self.say_commit(account, frames.commit(draft))]

    def sync(self, account: Account) -> list[Step]:
        """A `#sync` with a new commit over the same tree."""
        _require_active(account)
        account.rekeyed = False
        head = account.repo.resign(self.next_rev(account), account.signer.sign)
        return [self.outlets.say(account.host, frames.SYNC, frames.sync(account.did, head))]

    def identity(self, account: Account) -> list[Step]:
        """An `#identity`, which needs no reason."""
        return [self.outlets.say(account.host, frames.IDENTITY, frames.identity(account.did, account.handle))]

    def deactivate(self, account: Account) -> list[Step]:
        """By its owner."""
        return self._become(account, "deactivated")

    def suspend(self, account: Account) -> list[Step]:
        """By its host, for a while."""
        return self._become(account, "suspended")

    def take_down(self, account: Account) -> list[Step]:
        """By its host."""
        return self._become(account, "takendown")

    def close(self, account: Account) -> list[Step]:
        """By its host, which gives no reason, or one that nobody has heard of."""
        return self._become(account, self.random.choice(_ODD_STATUSES))

    def limit(self, account: Account) -> list[Step]:
        """Its host says that it is active, but; and the next time that it is active again."""
        _require_active(account)
        account.limited = None if account.limited else self.random.choice(_LIMITS)
        return [self._say_account(account)]

    def delete(self, account: Account) -> list[Step]:
        """For good. Also where it was not active before."""
        return self._become(account, "deleted")

    def reactivate(self, account: Account) -> list[Step]:
        """The end of a deactivation, suspension or takedown. The host tells again at which commit the account is.

        If the account has another key by now, that is a new commit.
        """
        if account.active or account.status == "deleted":
            raise ValueError("there is nothing to come back from, or no way back")
        account.status = None
        steps = [self._say_account(account), *self.identity(account)]
        if account.rekeyed:
            return steps + self.sync(account)
        assert account.repo.head is not None
        same = frames.sync(account.did, account.repo.head)
        return [*steps, self.outlets.say(account.host, frames.SYNC, same, intent=Intent.SYNC_REPEATED)]

    def tombstone(self, account: Account) -> list[Step]:
        """The DID itself comes to its end, after the account, if that is still there."""
        steps = [] if account.status == "deleted" else self.delete(account)
        account.tombstoned = True
        return [*steps, DocumentChange(account.did, None), *self.identity(account)]

    def rotate_key(self, account: Account, *, sync: bool = True) -> list[Step]:
        """Another key, and a commit that it signs, which has to wait if the account is not active.

        `sync`: False: there is none before the next commit, so that only the `#identity` tells of the new key.
        """
        account.take_new_key(account.signer.curve)
        sync = sync and account.active
        account.rekeyed = not sync
        steps = [DocumentChange(account.did, account.document()), *self.identity(account)]
        return steps + self.sync(account) if sync else steps

    def change_handle(self, account: Account, handle: str) -> list[Step]:
        account.handle = handle
        return [DocumentChange(account.did, account.document()), *self.identity(account)]

    def migrate(self, account: Account, to_host: int) -> list[Step]:
        """The account moves, and gets a key of its new host. What the old host has to say comes later or never."""
        _require_active(account)
        if to_host == account.host:
            raise ValueError("it is there already")
        account.former_hosts.append(account.host)
        account.host = to_host
        account.limited = None
        account.take_new_key(self.random.choice(list(Curve)))
        steps: list[Step] = [DocumentChange(account.did, account.document()), *self.identity(account)]
        return [*steps, self._say_account(account), *self.sync(account)]

    def late_goodbye(self, account: Account, old_host: int) -> list[Step]:
        """A host that the account has left says that it is not active there any more."""
        fields = frames.account(account.did, active=False, status="deactivated")
        return [self.outlets.say(old_host, frames.ACCOUNT, fields, intent=Intent.LATE_GOODBYE)]

    def reset_seqs(self, host: int, first: int = 1) -> None:
        """The host begins to count anew."""
        self.outlets.reset(host, first)

    def next_rev(self, account: Account) -> str:
        """A rev above all that the account has had."""
        return account.rev_at(self.clock.tick())

    def draft(
        self,
        account: Account,
        creates: int = 1,
        updates: int = 0,
        deletes: int = 0,
        *,
        writes: Sequence[Write] | None = None,
        rev: str | None = None,
        sign: Sign | None = None,
        extra: Fields | None = None,
    ) -> Draft:
        """A commit that is good, and that nobody has heard of. The repository is not at it until it adopts it.

        `writes`: instead of the numbers. `rev`: instead of the next one. `sign`: instead of the account's key.
        `extra`: more fields in the signed object.
        """
        _require_active(account)
        rev = rev or self.next_rev(account)
        chosen = self._writes(account, creates, updates, deletes) if writes is None else writes
        return account.repo.draft(chosen, rev, sign or account.signer.sign, extra)

    def new_writes(self, number: int, record_bytes: int) -> list[Write]:
        """Records to create, of that size."""
        return [
            Write(self._new_path(index), Recipe(self.random.getrandbits(32), record_bytes)) for index in range(number)
        ]

    def say_commit(self, account: Account, fields: Fields, intent: Intent = Intent.GOOD) -> Emission:
        """The `#commit` goes out, and is what the account has said last."""
        account.said = {"time": timestamp(self.clock.tick())} | fields
        return self.outlets.say(account.host, frames.COMMIT, account.said, intent=intent)

    def _add(self, host: int, did: str | None) -> Account:
        config, number = self.config, len(self.accounts)
        # evenly spread over the accounts, whatever the seed is
        p256 = int((number + 1) * config.p256_share) > int(number * config.p256_share)
        account = make_account(
            config.seed,
            number,
            host,
            Curve.P256 if p256 else Curve.K256,
            did=did,
            records=config.records_per_repo,
            record_bytes=config.record_bytes,
        )
        self.accounts.append(account)
        return account

    def _become(self, account: Account, status: str) -> list[Step]:
        if not account.introduced or account.status == "deleted":
            raise ValueError("nobody has heard of the account, or it is gone")
        account.status, account.limited = status, None
        return [self._say_account(account)]

    def _say_account(self, account: Account) -> Emission:
        fields = frames.account(account.did, active=account.active, status=account.said_status)
        return self.outlets.say(account.host, frames.ACCOUNT, fields)

    def _writes(self, account: Account, creates: int, updates: int, deletes: int) -> list[Write]:
        tree = account.repo.tree
        writes = [Write(self._new_path(index), self._recipe()) for index in range(creates)]
        existing = min(updates + deletes, len(tree))
        if existing:
            for position, index in enumerate(self.random.sample(range(len(tree)), existing)):
                recipe = self._recipe() if position < updates else None
                writes.append(Write(tree.key_at(index).decode(), recipe))
        return writes

    def _new_path(self, index: int) -> str:
        """A path that no repository has: two events are further apart than a commit has operations."""
        collection = self.random.choice(COLLECTIONS)
        return f"{collection}/{tid(self.clock.now_us + index, 0)}"

    def _recipe(self) -> Recipe:
        mean = self.config.record_bytes
        return Recipe(self.random.getrandbits(32), int(mean * (0.5 + self.random.random())))


def _require_active(account: Account) -> None:
    if not account.introduced or not account.active:
        raise ValueError("nobody has heard of the account, or it is not active")
