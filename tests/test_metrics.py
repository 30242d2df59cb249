from enum import StrEnum

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zlay_py import __version__
from zlay_py.metrics import Metrics


class Kind(StrEnum):
    COMMIT = "#commit"
    SYNC = "#sync"


def build() -> Metrics:
    return Metrics(event_kinds=Kind, drop_reasons=["rev_old"], host_statuses=["active", "idle"], queues=["lanes"])


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """(name, label value) → number, as a Prometheus server would read it."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def test_the_names_are_a_closed_set() -> None:
    families = text_string_to_metric_families(build().exposition().decode())
    assert {family.name for family in families if family.name.startswith("relay_")} == {
        "relay_build_info",
        "relay_consumers",
        "relay_events_dropped",
        "relay_events_emitted",
        "relay_events_received",
        "relay_greenlets",
        "relay_hosts",
        "relay_log_append_seconds",
        "relay_log_bytes",
        "relay_log_durable_seq",
        "relay_log_oldest_seq",
        "relay_log_seq",
        "relay_frame_bytes",
        "relay_frames_undecodable",
        "relay_commits_unproven",
        "relay_commits_discontinuous",
        "relay_hosts_connected",
        "relay_queue_items",
        "relay_verifications",
    }


def test_every_series_is_there_from_the_start() -> None:
    seen = samples(build())
    for key in [
        ("relay_events_received_total", "#commit"),
        ("relay_events_received_total", "#sync"),
        ("relay_events_dropped_total", "rev_old"),
        ("relay_verifications_total", "verified"),
        ("relay_verifications_total", "unverified"),
        ("relay_hosts", "idle"),
        ("relay_queue_items", "lanes"),
        ("relay_consumers", ""),
        ("relay_log_append_seconds_count", ""),
    ]:
        assert seen[key] == 0, key


def test_counting() -> None:
    metrics = build()
    metrics.events_received.inc(Kind.COMMIT)
    metrics.events_received.inc("#commit", 4)
    metrics.log_bytes.set(100)
    metrics.log_seq.set(12)
    metrics.hosts.set(3, "active")
    metrics.log_append_seconds.observe(0.004)
    seen = samples(metrics)
    assert seen["relay_events_received_total", "#commit"] == 5
    assert seen["relay_events_received_total", "#sync"] == 0
    assert seen["relay_log_bytes", ""] == 100
    assert seen["relay_log_seq", ""] == 12
    assert seen["relay_hosts", "active"] == 3
    assert seen["relay_log_append_seconds_bucket", "0.005"] == 1


def test_numbers_kept_elsewhere_are_read_at_each_scrape() -> None:
    metrics = build()
    dropped = {"rev_old": 1, "invented": 9}
    waiting = [1, 2]
    metrics.events_dropped.read_from(lambda: dropped)
    metrics.consumers.read_number_from(lambda: len(waiting))
    metrics.events_received.read_from(lambda: {Kind.SYNC: 6})
    seen = samples(metrics)
    assert seen["relay_events_dropped_total", "rev_old"] == 1
    assert ("relay_events_dropped_total", "invented") not in seen
    assert seen["relay_consumers", ""] == 2
    assert seen["relay_events_received_total", "#sync"] == 6
    assert seen["relay_events_received_total", "#commit"] == 0
    dropped["rev_old"] = 2
    waiting.clear()
    assert samples(metrics)["relay_events_dropped_total", "rev_old"] == 2
    assert samples(metrics)["relay_consumers", ""] == 0


def test_a_label_value_that_was_not_declared_is_an_error() -> None:
    metrics = build()
    with pytest.raises(KeyError):
        metrics.events_received.inc("#invented")
    with pytest.raises(KeyError):
        metrics.hosts.set(1, "invented")
    with pytest.raises(KeyError):
        metrics.events_received.inc()
    with pytest.raises(ValueError, match="has no values"):
        metrics.counter_by("relay_nothing", "Nothing.", "kind", [])


def test_a_name_is_taken_once() -> None:
    metrics = build()
    metrics.gauge("relay_more", "More.").set(1)
    with pytest.raises(ValueError, match="two metrics are called relay_more"):
        metrics.counter("relay_more", "More.")


def test_what_runs_is_told_and_two_relays_share_nothing() -> None:
    one, other = build(), build()
    one.events_received.inc("#commit")
    assert samples(other)["relay_events_received_total", "#commit"] == 0
    seen = samples(one)
    assert any(name == "relay_build_info" and __version__ in labels for name, labels in seen)
    assert seen["process_open_fds", ""] > 0
