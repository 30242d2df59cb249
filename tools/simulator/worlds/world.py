"""A whole network's worth of events, out of nothing but a seed: the door to what the simulator can make.

    population   accounts and hosts, and what is good        faults   what is wrong or odd, by intent
    repo, tree   repositories, with commits and their proofs script   how much of what

Owns: the order of what happens. Refuses to own: sockets (`network`) and what a relay owes for it (`judge`).
"""

from collections.abc import Callable, Iterator

from tools.simulator.faults import making as faults
from tools.simulator.model import Emission, Intent, Step
from tools.simulator.worlds.accounts import Account
from tools.simulator.worlds.population import Population, WorldConfig
from tools.simulator.worlds.script import GOOD_ONLY, HOSTILE, LIFELIKE, Action, Mix

__all__ = ["GOOD_ONLY", "HOSTILE", "LIFELIKE", "Account", "Action", "Mix", "World", "WorldConfig"]

_TRIES = 8  # most accounts are active: to draw again is quicker than to list them
_HOST_PAIRS = frozenset(
    (Intent.WRONG_HOST, Intent.FORGED_ACCOUNT, Intent.FORGED_IDENTITY, Intent.LATE_GOODBYE, Action.MIGRATE)
)


class World(Population):
    """Makes steps: frames that hosts emit, and what changes in the directory between them."""

    def __init__(self, config: WorldConfig) -> None:
        super().__init__(config)
        self._turns = dict.fromkeys(Intent, 0)

    def fault(
        self,
        intent: Intent,
        account: Account | None = None,
        host: int | None = None,
        variant: int | None = None,
    ) -> list[Step]:
        """An event that is not as it should be, and what has to happen before it; see `faults`.

        `variant`: which of several ways. None: the next one each time.
        """
        if variant is None:
            variant = self._turns[intent]
            self._turns[intent] += 1
        return faults.make(self, intent, account, host, variant)

    def run(self, events: int, *, mix: Mix) -> Iterator[Step]:
        """What happens by itself. All accounts are introduced first.

        Ends when there were so many emissions, and what has begun is at its end.
        """
        choices = [choice for choice in mix.weights if self.config.hosts > 1 or choice not in _HOST_PAIRS]
        weights = [mix.weights[choice] for choice in choices]
        emitted = 0
        for account in self.accounts.copy():
            for step in self.introduce(account):
                emitted += isinstance(step, Emission)
                yield step
        while emitted < events:
            (choice,) = self.random.choices(choices, weights)
            for step in self.fault(choice) if isinstance(choice, Intent) else self._act(choice):
                emitted += isinstance(step, Emission)
                yield step

    def _act(self, action: Action) -> list[Step]:
        """One action of some account. Where none will do, a record is created instead; or an account, rather than that
        fewer than half of those that there were at first are active."""
        if action in _ENDS and (len(self._active()) - 1) * 2 < self.config.hosts * self.config.accounts_per_host:
            action = Action.CREATE_ACCOUNT
        if action is Action.CREATE_ACCOUNT:
            return self.introduce(self.create_account(self.random.randrange(self.config.hosts)))
        if action is Action.REACTIVATE:
            asleep = [item for item in self.accounts if item.status not in (None, "deleted")]
            if asleep:
                return self.reactivate(self.random.choice(asleep))
            action = Action.CREATE
        account = self._anyone()
        if action in _OPERATIONS:
            return self.commit(account, *_OPERATIONS[action])
        return self._lifecycle(action, account)

    def _anyone(self) -> Account:
        """An account that is active: at least one is, always."""
        for _ in range(_TRIES):
            account = self.random.choice(self.accounts)
            if account.active and account.introduced:
                return account
        return self.random.choice(self._active())

    def _active(self) -> list[Account]:
        return [account for account in self.accounts if account.active and account.introduced]

    def _lifecycle(self, action: Action, account: Account) -> list[Step]:
        if action is Action.CHANGE_HANDLE:
            return self.change_handle(account, f"user{account.number}.at{self.clock.now_us}.test")
        if action is Action.MIGRATE:
            hosts = [host for host in range(self.config.hosts) if host != account.host]
            return self.migrate(account, self.random.choice(hosts))
        simple: dict[Action, Callable[[Account], list[Step]]] = {
            Action.SYNC: self.sync,
            Action.IDENTITY: self.identity,
            Action.ROTATE_KEY: self.rotate_key,
            Action.DEACTIVATE: self.deactivate,
            Action.SUSPEND: self.suspend,
            Action.TAKE_DOWN: self.take_down,
            Action.CLOSE: self.close,
            Action.LIMIT: self.limit,
            Action.DELETE_ACCOUNT: self.delete,
            Action.TOMBSTONE: self.tombstone,
        }
        return simple[action](account)


_OPERATIONS = {
    Action.CREATE: (1, 0, 0),
    Action.UPDATE: (0, 1, 0),
    Action.DELETE: (0, 0, 1),
    Action.SEVERAL: (3, 1, 2),
    Action.EMPTY: (0, 0, 0),
}
"""Creates, updates, deletes."""

_ENDS = frozenset(
    (Action.DEACTIVATE, Action.SUSPEND, Action.TAKE_DOWN, Action.CLOSE, Action.DELETE_ACCOUNT, Action.TOMBSTONE)
)
"""After these there is one account less to do anything."""
