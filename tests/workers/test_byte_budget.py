"""The allowance of bytes: never over, nobody starves, and nobody is woken for nothing."""

from collections.abc import Iterator

import gevent
import greenlet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zlay_py.workers.byte_budget import ByteBudget

Greenlets = list["gevent.Greenlet[..., None]"]


def take(budget: ByteBudget, size: int, taken: list[int]) -> None:
    budget.take(size)
    taken.append(size)


@pytest.fixture
def taken() -> list[int]:
    return []


@pytest.fixture
def greenlets() -> Iterator[Greenlets]:
    made: Greenlets = []
    yield made
    gevent.killall(made)


def test_who_came_first_is_served_first_and_a_large_frame_is_not_overtaken(
    taken: list[int], greenlets: Greenlets
) -> None:
    budget = ByteBudget(100)
    budget.take(90)
    greenlets += [gevent.spawn(take, budget, size, taken) for size in (80, 5, 6)]
    gevent.idle()
    assert taken == [], "5 would fit, and would keep 80 out for longer"
    budget.give_back(75)
    gevent.idle()
    assert taken == [80, 5]
    assert budget.used_bytes == 100
    budget.give_back(80)
    gevent.idle()
    assert taken == [80, 5, 6]


def test_a_frame_larger_than_the_budget_goes_alone(taken: list[int], greenlets: Greenlets) -> None:
    budget = ByteBudget(10)
    budget.take(1)
    greenlets += [gevent.spawn(take, budget, size, taken) for size in (50, 1)]
    gevent.idle()
    assert taken == []
    budget.give_back(1)
    gevent.idle()
    assert taken == [50]
    budget.give_back(50)
    gevent.idle()
    assert taken == [50, 1]


def test_only_those_wake_that_fit_now(taken: list[int], greenlets: Greenlets) -> None:
    budget = ByteBudget(1_000)
    budget.take(1_000)
    greenlets += [gevent.spawn(take, budget, 1, taken) for _ in range(500)]
    gevent.idle()
    switches: list[str] = []
    old = greenlet.settrace(lambda event, _where: switches.append(event))
    try:
        budget.give_back(3)
        gevent.idle()
    finally:
        greenlet.settrace(old)
    assert len(taken) == 3
    assert len(switches) < 50


def test_who_is_killed_while_waiting_keeps_neither_place_nor_bytes(taken: list[int]) -> None:
    budget = ByteBudget(10)
    budget.take(10)
    first, second = gevent.spawn(take, budget, 10, taken), gevent.spawn(take, budget, 4, taken)
    gevent.idle()
    first.kill()
    budget.give_back(6)
    gevent.idle()
    assert taken == [4]
    second.join()
    third = gevent.spawn(take, budget, 5, taken)  # 8 are in use
    gevent.idle()
    third.kill(block=False)  # it will run only after it was admitted
    budget.give_back(8)
    gevent.idle()
    third.join()
    assert taken == [4]
    assert budget.used_bytes == 0


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=30))
def test_everyone_gets_through_in_order_and_the_maximum_holds(sizes: list[int]) -> None:
    budget, taken = ByteBudget(10), list[int]()
    waiting = [gevent.spawn(take, budget, size, taken) for size in sizes]
    gevent.idle()
    returned = 0
    while returned < len(sizes):
        assert budget.used_bytes <= max(10, taken[-1])
        assert budget.used_bytes == sum(taken[returned:])
        budget.give_back(taken[returned])
        returned += 1
        gevent.idle()
    assert taken == sizes
    assert budget.used_bytes == 0
    gevent.joinall(waiting)
