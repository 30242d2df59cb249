"""A history with a bit of all, and short ways to ask a judge about what came of it."""

from typing import Any

from tests.support.sim_stories import DID, OTHER, Story
from tools.simulator.model import Emission, Intent
from tools.simulator.oracle.judge import Findings, Judge, Policy, Received

STRICT = Policy(validation="strict")
Reading = list[Received]


def told() -> Story:
    """Two accounts on two hosts, a fault that must not come out, and all of it settled."""
    story = Story()
    story.introduce(DID, 0)
    story.introduce(OTHER, 1)
    story.ledger.settled()
    for _ in range(3):
        story.commit(DID)
        story.commit(OTHER, 1)
    story.commit(DID, intent=Intent.BAD_SIGNATURE)
    story.sync(DID)
    story.account(OTHER, 1, active=False, status="deactivated")
    story.ledger.settled()
    return story


def judge(
    story: Story, reading: Reading, *, sessions: list[Any] | None = None, policy: Policy = STRICT, **asked: Any
) -> Findings:
    return Judge(story.ledger, policy, host_names=["a.test", "b.test"]).judge(
        [reading] if sessions is None else sessions, reading, **asked
    )


def only(found: Findings) -> str:
    """The one kind of wrong that was found."""
    [kind] = found.totals
    return kind


def good(story: Story) -> list[Emission]:
    return [emission for emission in story.emissions if emission.intent is Intent.GOOD]
