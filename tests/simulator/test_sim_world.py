"""Worlds: the same bytes for the same seed, lives in the right order, frames of the real shape."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import pytest

from tools.simulator.model import Document, DocumentChange, Emission, Intent, Step
from tools.simulator.worlds.world import GOOD_ONLY, HOSTILE, LIFELIKE, Account, Action, Mix, World, WorldConfig
from zlay_py.atproto import car, events, frame, keys, syntax
from zlay_py.atproto.frame import FrameKind
from zlay_py.atproto.keys import Curve

ROOT = Path(__file__).parents[2]
FINGERPRINT = """
import hashlib, sys
from tools.simulator.worlds.world import HOSTILE, World, WorldConfig
world = World(WorldConfig(seed=int(sys.argv[1]), p256_share=0.5, records_per_repo=30))
digest = hashlib.sha256(repr(world.documents()).encode())
for step in world.run(800, mix=HOSTILE):
    digest.update(repr(step).encode())
print(digest.hexdigest())
"""


@pytest.fixture
def world() -> World:
    return World(WorldConfig(hosts=2, accounts_per_host=2))


def start(world: World) -> Account:
    """An account that has been introduced."""
    world.introduce(world.accounts[0])
    return world.accounts[0]


def outline(steps: list[Step]) -> list[str]:
    """`#commit@0` for a frame and its host, `document` and `no document` for a change of one."""
    return [
        f"{step.kind}@{step.host}" if isinstance(step, Emission) else "document" if step.document else "no document"
        for step in steps
    ]


def fingerprint(seed: int, hash_seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    run = subprocess.run(
        [sys.executable, "-c", FINGERPRINT, str(seed)], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    return run.stdout.decode()


def test_same_seed_same_bytes() -> None:
    first = fingerprint(1, 1)
    assert len(first) == 65
    assert first == fingerprint(1, 2)
    assert first != fingerprint(2, 1)


def test_accounts_are_spread_over_hosts_and_curves() -> None:
    web = ("did:web:localhost%3A2001", "did:web:localhost%3A2002")
    world = World(WorldConfig(hosts=3, accounts_per_host=4, p256_share=0.25, web_dids=web))
    assert [account.host for account in world.accounts] == [0, 1, 2] * 4
    curves = [keys.parse_did_key(account.signer.did_key).curve for account in world.accounts]
    assert curves.count(Curve.P256) == 3
    assert tuple(account.did for account in world.accounts[:2]) == web
    assert all(syntax.is_supported_did(account.did) and syntax.is_handle(account.handle) for account in world.accounts)
    assert len({account.did for account in world.accounts}) == 12
    assert world.documents() == [
        DocumentChange(account.did, Document(account.handle, account.signer.did_key, account.host))
        for account in world.accounts
    ]
    with pytest.raises(ValueError, match="more did:web"):
        World(WorldConfig(hosts=1, accounts_per_host=1, web_dids=web))


def test_introduction(world: World) -> None:
    account = world.accounts[1]
    with pytest.raises(ValueError, match="nobody"):
        world.commit(account)
    assert outline(world.introduce(account)) == ["#identity@1", "#account@1", "#commit@1"]
    assert world.introduce(account) == []
    assert [end.did for end in world.ends()] == [account.did]


def test_introduction_of_a_repository_with_records() -> None:
    world = World(WorldConfig(records_per_repo=10))
    assert outline(world.introduce(world.accounts[0])) == ["#identity@0", "#account@0", "#sync@0"]


def test_a_new_account_gets_its_document_first(world: World) -> None:
    account = world.create_account(1)
    assert account.did not in [change.did for change in world.documents()]
    assert outline(world.introduce(account)) == ["document", "#identity@1", "#account@1", "#commit@1"]


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (World.deactivate, "deactivated"),
        (World.suspend, "suspended"),
        (World.take_down, "takendown"),
        (World.delete, "deleted"),
    ],
)
def test_going_and_coming_back(act: Callable[[World, Account], list[Step]], status: str, world: World) -> None:
    account = start(world)
    (gone,) = act(world, account)
    assert isinstance(gone, Emission)
    assert parsed(gone) == events.AccountEvent(account.did, False, status, parsed(gone).time)
    assert [astuple(end)[2:4] for end in world.ends()] == [(False, status)]
    with pytest.raises(ValueError, match="not active"):
        world.commit(account)
    if status == "deleted":
        with pytest.raises(ValueError, match="no way back"):
            world.reactivate(account)
        return
    steps = world.reactivate(account)
    assert outline(steps) == ["#account@0", "#identity@0", "#sync@0"]
    assert [step.intent for step in steps if isinstance(step, Emission)] == ["good", "good", "sync_repeated"]
    assert astuple(world.ends()[0])[2:4] == (True, None)
    with pytest.raises(ValueError, match="nothing to come back from"):
        world.reactivate(account)


def parsed(emission: Emission) -> events.AccountEvent:
    return events.parse_account(frame.decode(emission.wire))


def test_tombstone(world: World) -> None:
    account = start(world)
    assert outline(world.tombstone(account)) == ["#account@0", "no document", "#identity@0"]
    assert world.ends()[0].status == "deleted"


def test_key_rotation(world: World) -> None:
    account = start(world)
    old, rev = account.signer.did_key, account.rev or ""
    steps = world.rotate_key(account)
    assert outline(steps) == ["document", "#identity@0", "#sync@0"]
    assert isinstance(steps[0], DocumentChange)
    assert steps[0].document is not None
    assert steps[0].document.did_key == account.signer.did_key != old == account.former_keys[-1].did_key
    assert (account.rev or "") > rev
    world.deactivate(account)
    assert outline(world.rotate_key(account)) == ["document", "#identity@0"]
    back = world.reactivate(account)
    assert outline(back) == ["#account@0", "#identity@0", "#sync@0"]
    assert isinstance(back[2], Emission)
    assert (back[2].intent, back[2].rev) == (Intent.GOOD, account.rev)
    again = world.deactivate(account) + world.reactivate(account)
    assert isinstance(again[3], Emission)
    assert again[3].intent is Intent.SYNC_REPEATED


def test_handle_change(world: World) -> None:
    account = start(world)
    steps = world.change_handle(account, "new.test")
    assert outline(steps) == ["document", "#identity@0"]
    assert isinstance(steps[1], Emission)
    assert events.parse_identity(frame.decode(steps[1].wire)).handle == "new.test"


def test_migration(world: World) -> None:
    account = start(world)
    rev, key = account.rev or "", account.signer.did_key
    assert outline(world.migrate(account, 1)) == ["document", "#identity@1", "#account@1", "#sync@1"]
    assert account.former_hosts == [0]
    assert (account.rev or "") > rev
    assert account.signer.did_key != key
    (goodbye,) = world.late_goodbye(account, 0)
    assert isinstance(goodbye, Emission)
    assert (goodbye.host, goodbye.intent) == (0, Intent.LATE_GOODBYE)
    assert outline(world.commit(account)) == ["#commit@1"]
    assert astuple(world.ends()[0])[1:4] == (1, True, None)
    with pytest.raises(ValueError, match="already"):
        world.migrate(account, 1)


def test_seqs_begin_anew(world: World) -> None:
    account = start(world)
    before = [step for step in world.identity(account) if isinstance(step, Emission)]
    world.reset_seqs(0)
    world.reset_seqs(1, 500)
    after = [step for step in world.identity(account) if isinstance(step, Emission)]
    assert (before[0].epoch, before[0].seq) == (0, 4)
    assert (after[0].epoch, after[0].seq) == (1, 1)
    assert frame.decode(after[0].wire).seq == 1
    other = [step for step in world.introduce(world.accounts[1]) if isinstance(step, Emission)]
    assert (other[0].epoch, other[0].seq) == (1, 500)


@pytest.mark.parametrize("mix", [GOOD_ONLY, LIFELIKE, HOSTILE])
def test_runs_are_as_long_as_asked(mix: Mix) -> None:
    world = World(WorldConfig())
    emissions = [step for step in world.run(400, mix=mix) if isinstance(step, Emission)]
    assert 400 <= len(emissions) < 410
    # The second run goes on where the first one ended.
    assert 50 <= sum(isinstance(step, Emission) for step in world.run(50, mix=mix)) < 60


def test_a_mix_of_one_thing() -> None:
    world = World(WorldConfig(records_per_repo=20))
    steps = list(world.run(200, mix=Mix({Action.DELETE: 1})))[36:]
    ops = [events.parse_commit(frame.decode(step.wire)).ops for step in steps if isinstance(step, Emission)]
    assert len(ops) > 100
    assert all(op.action == "delete" for op in sum(ops, ()))
    wrong: tuple[dict[Action | Intent, float], ...] = (
        {},
        {Action.CREATE: 0.0},
        {Action.CREATE: -1.0, Action.DELETE: 1.0},
        {Intent.GOOD: 1.0},
    )
    for weights in wrong:
        with pytest.raises(ValueError):  # noqa: PT011
            Mix(weights)


def test_frames_have_the_shape_of_the_network() -> None:
    """bsky.network in July 2026: a mean of 5,530 bytes, 8.5 nodes of a tree, nearly always one create."""
    world = World(WorldConfig(records_per_repo=10_000, accounts_per_host=10))
    sizes, nodes, creates = [], [], 0
    for step in world.run(1000, mix=LIFELIKE):
        if not isinstance(step, Emission) or step.kind != FrameKind.COMMIT:
            continue
        event = events.parse_commit(frame.decode(step.wire))
        records = sum(op.cid is not None for op in event.ops)
        sizes.append(len(step.wire))
        nodes.append(len(car.parse(event.blocks).blocks) - 1 - records)
        creates += [op.action for op in event.ops] == ["create"]
    assert len(sizes) > 850
    assert 5200 < statistics.mean(sizes) < 5900
    assert 7.5 < statistics.mean(nodes) < 9.5
    assert creates > 0.9 * len(sizes)


def test_a_thousand_large_repositories_fit_in_memory() -> None:
    """All start from one tree, and take copies of what they change."""
    world = World(WorldConfig(hosts=10, accounts_per_host=100, records_per_repo=10_000))
    own = set()
    for account in world.accounts:
        world.introduce(account)
        world.commit(account)
    shared = {id(node) for node in world.accounts[0].repo.tree.nodes()}
    for account in world.accounts[1:4]:
        own |= {id(node) for node in account.repo.tree.nodes()} - shared
    assert len(shared) > 2500
    assert len(own) < 40
