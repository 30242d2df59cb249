"""The screen: a snapshot in, exactly as many lines as the terminal has out. From 80 columns by 24 lines upwards."""

from rich.text import Text

from tools.demo import draw
from tools.demo.draw import ACCENT, BAD, BADGE, GOOD, WARN
from tools.demo.snapshot import Addresses, EventLine, HostLine, Snapshot

WIDTH_MIN, HEIGHT_MIN = 80, 24
WIDE = 116
"""From here on DIDs are written out, and events have their size."""
TALL = 34
"""From here on there is air between the parts."""
ROWS_SMALL = 4
"""Of hosts and of reasons in the smallest terminal, at most; each fourth line more gives one more."""
HOSTS_WIDTH_MIN = 46
COUNTS_WIDTH_MIN, COUNTS_WIDTH_MAX = 32, 48
NAME_WIDTH = 24
"""For the longest of the usual names; bars have what is left."""
BAR_WIDTH_MAX = 16
EVENTS_MIN = 3
KIND_STYLES = {"#commit": ACCENT, "#sync": "cyan", "#identity": "magenta", "#account": WARN}
STATUS_STYLES = {"active": GOOD, "idle": WARN, "throttled": WARN, "offline": BAD, "banned": BAD}
ACTION_SIGNS = {"create": ("+", GOOD), "update": ("~", WARN), "delete": ("−", BAD)}  # noqa: RUF001  # a minus sign


def screen(snapshot: Snapshot, addresses: Addresses, width: int, height: int) -> list[Text]:
    """Lines of that width. In a smaller terminal than the smallest the lower right is cut off."""
    inner, rows = max(width, WIDTH_MIN), max(height, HEIGHT_MIN)
    air = [Text()] if rows >= TALL else []
    top = [title(snapshot, inner), *air, *flow(snapshot, inner), *air]
    bottom = [*air, *links(addresses, inner)]
    state = relay(snapshot, inner)
    free = rows - len(top) - len(bottom) - len(state) - len(air) * 3
    table_rows = ROWS_SMALL + (rows - HEIGHT_MIN) // 4
    graph_rows = max(2, min(8, free // 6))
    wanted = max(len(snapshot.hosts), len(snapshot.drops), len(snapshot.intents) - 1 if inner >= WIDE else 0, 3)
    middle_rows = min(wanted, table_rows, free - graph_rows - 3 - EVENTS_MIN)
    middle = tables(snapshot, inner, middle_rows)
    event_rows = free - graph_rows - len(middle) - 1
    lines = [
        *top,
        *throughput(snapshot, inner, graph_rows),
        *air,
        *middle,
        *air,
        *state,
        *air,
        draw.rule("the last events out of the relay, as a consumer got them", inner),
        *events(snapshot.events, inner, event_rows),
        *bottom,
    ]
    return [draw.fit(line, width) for line in lines[:height]]


def title(snapshot: Snapshot, width: int) -> Text:
    hosts = draw.many(len(snapshot.hosts), "host") if snapshot.hosts else "hosts"
    left = Text.assemble(
        (" zlay_py ", f"bold {BADGE} on {ACCENT}"),
        "  ",
        (f"{hosts} → relay → consumer", "bold"),
        ", all on this machine",
    )
    stage = snapshot.stage or "Ctrl-C ends it"
    style = WARN if snapshot.stage else "dim"
    return draw.spread(left, Text.assemble((stage, style), "  ", (draw.clock(snapshot.elapsed_s), "bold")), width)


def flow(snapshot: Snapshot, width: int) -> list[Text]:
    """What went in and what came out, as totals."""
    bad = snapshot.dropped + snapshot.undecodable
    tiles = [
        ("hosts sent", draw.count(snapshot.emitted), "bold"),
        ("received", draw.count(snapshot.received), "bold"),
        ("dropped", draw.count(bad), f"bold {BAD}" if bad else "bold"),
        ("came out", draw.count(snapshot.out), f"bold {GOOD}"),
        ("verified", draw.share(snapshot.verified_share), f"bold {GOOD}"),
        ("consumer got", draw.count(snapshot.consumed), "bold"),
    ]
    cell = width // len(tiles)
    labels, numbers = Text(), Text()
    for name, number, style in tiles:
        labels.append_text(draw.fit(Text(f" {name}", "dim"), cell))
        numbers.append_text(draw.fit(Text(f" {number}", style), cell))
    return [labels, numbers]


def throughput(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    """Events out per second over time, the number of the moment beside it."""
    rate = snapshot.rates[-1] if snapshot.rates else 0.0
    label = [Text() for _ in range(rows - 2)]
    label += [Text.assemble((f"{rate:>7,.0f}", f"bold {ACCENT}")), Text("events/s", "dim")]
    return draw.beside([(8, label), (width - 10, draw.graph(snapshot.rates, width - 10, rows))])


def tables(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    """Hosts, what is wrong with what they send where there is room for it, and what the relay says of that."""
    drops = dict(snapshot.drops)
    if snapshot.undecodable:
        drops["undecodable"] = snapshot.undecodable
    if width < WIDE:
        right = max(COUNTS_WIDTH_MIN, width * 2 // 5)
        left = width - right - 2
        return draw.beside(
            [
                (left, host_table(snapshot, left, rows)),
                (right, count_table("dropped by the relay", "reason", drops, right, rows)),
            ]
        )
    sent = {intent: number for intent, number in snapshot.intents.items() if intent != "good"}
    right = min((width - HOSTS_WIDTH_MIN - 4) // 2, COUNTS_WIDTH_MAX)
    left = width - 2 * (right + 2)
    return draw.beside(
        [
            (left, host_table(snapshot, left, rows)),
            (right, count_table("sent besides good events", "what", sent, right, rows)),
            (right, count_table("dropped by the relay", "reason", drops, right, rows)),
        ]
    )


def host_table(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    hosts = snapshot.hosts
    name_width = width - 30
    lines = [
        draw.rule(f"{snapshot.hosts_connected} of {draw.many(len(hosts), 'host')} connected", width),
        Text(f" {'host':<{name_width}}{'status':<8}{'seq':>7}{'accounts':>9}{'/s':>5}", "dim"),
    ]
    shown = hosts if len(hosts) <= rows else hosts[: rows - 1]
    lines += [_host_line(host, name_width) for host in shown]
    if len(shown) < len(hosts):
        lines.append(Text(f" and {len(hosts) - len(shown)} more", "dim"))
    return lines


def _host_line(host: HostLine, name_width: int) -> Text:
    return Text.assemble(
        " ",
        draw.fit(Text(host.name), name_width - 1),
        " ",
        (f"{host.status:<8}", STATUS_STYLES.get(host.status, "")),
        f"{host.seq:>7}{host.accounts:>9}",
        (f"{host.rate:>5.0f}", ACCENT),
    )


def count_table(title: str, head: str, numbers: dict[str, int], width: int, rows: int) -> list[Text]:
    """The most frequent first, under the names that metrics and simulator have for them."""
    lines = [draw.rule(title, width), Text(f" {head:<{width - 8}}{'events':>7}", "dim")]
    counts = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    shown = counts if len(counts) <= rows else counts[: rows - 1]
    highest = max((number for _, number in counts), default=1)
    bar_width = max(0, min(width - NAME_WIDTH - 8, BAR_WIDTH_MAX))
    for name, number in shown:
        cell = draw.fit(Text(f" {name}"), width - 8 - bar_width)
        lines.append(Text.assemble(cell, (draw.bar(number / highest, bar_width), BAD), f"{draw.count(number):>8}"))
    rest = counts[len(shown) :]
    if rest:
        total = draw.count(sum(number for _, number in rest))
        lines.append(Text(f" {f'{len(rest)} more':<{width - 9}}{total:>8}", "dim"))
    if not counts:
        lines.append(Text(" nothing yet", "dim"))
    return lines


def relay(snapshot: Snapshot, width: int) -> list[Text]:
    """What the process takes, and what waits in it."""
    own = [
        ("memory", draw.size(snapshot.memory_bytes)),
        ("CPU", f"{snapshot.cpu_share:.0%}"),
        ("log", draw.size(snapshot.log_bytes)),
        ("seq", draw.count(snapshot.relay_seq)),
        ("consumer lag", draw.count(snapshot.lag)),
    ]
    waiting = [(name, draw.count(number)) for name, number in snapshot.queues.items()]
    return [draw.rule("relay", width), _pairs("", own), _pairs("waiting in ", waiting)]


def _pairs(lead: str, pairs: list[tuple[str, str]]) -> Text:
    line = Text.assemble((f" {lead}", "dim"))
    for name, value in pairs:
        line.append_text(Text.assemble((f"{name} ", "dim"), (value, "bold"), "   "))
    return line


def events(lines: tuple[EventLine, ...], width: int, rows: int) -> list[Text]:
    """The newest at the bottom, always that many lines."""
    shown = [event_line(event, width) for event in lines[-rows:]] if rows > 0 else []
    return shown + [Text()] * (rows - len(shown))


def event_line(event: EventLine, width: int) -> Text:
    wide = width >= WIDE
    line = Text.assemble(
        (f"{event.seq:>7} ", "dim"),
        (f" {event.kind:<10}", KIND_STYLES.get(event.kind, "")),
        (f"{event.did if wide else short_did(event.did):<{34 if wide else 20}}", ""),
    )
    if event.ops:
        action, path = event.ops[0]
        sign, style = ACTION_SIGNS.get(action, ("?", BAD))
        line.append(f"{sign} ", style)
        line.append(path)
        if len(event.ops) > 1:
            line.append(f"  and {len(event.ops) - 1} more", "dim")
    else:
        line.append(event.note, "dim")
    return draw.spread(line, Text(draw.size(event.frame_bytes), "dim"), width) if wide else line


def short_did(did: str, chars_max: int = 18) -> str:
    """The two ends of a long one."""
    return did if len(did) <= chars_max else f"{did[: chars_max - 5]}…{did[-4:]}"


def links(addresses: Addresses, width: int) -> list[Text]:
    """What to try from another terminal, as lines to copy."""
    port = addresses.http.rpartition(":")[2]
    note = f" ({addresses.note})" if addresses.note else ""
    return [
        draw.rule(f"{addresses.firehose}{note}", width),
        Text.assemble((" $ ", "dim"), f".venv/bin/python -m tools.demo.tail {port}"),
        Text.assemble((" $ ", "dim"), f"curl -s {addresses.metrics}/metrics | grep ^relay_"),
    ]
