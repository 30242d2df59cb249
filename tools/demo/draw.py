"""Small pieces of a screen made of whole lines: numbers, bars, rules, lines beside each other."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

ACCENT, BADGE = "#6aa5ff", "#0d1117"
GOOD, WARN, BAD = "green", "yellow", "red"
EIGHTHS = " ▁▂▃▄▅▆▇█"
KB, MB, GB = 1_000, 1_000_000, 1_000_000_000


def count(number: int) -> str:
    return f"{number:,}"


def many(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def size(number_bytes: int) -> str:
    """In the unit that leaves one to three digits before the point."""
    for unit, name in ((GB, "GB"), (MB, "MB"), (KB, "kB")):
        if number_bytes >= unit:
            return f"{number_bytes / unit:.{1 if number_bytes < 100 * unit else 0}f} {name}"
    return f"{number_bytes} B"


def share(part: float | None) -> str:
    """Percent, never rounded up to 100: one event in a million that is not in it has to show."""
    if part is None:
        return "-"
    return "100 %" if part >= 1 else f"{min(int(part * 10_000) / 100, 99.99):.2f} %"


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def fit(line: Text, width: int) -> Text:
    """Exactly that wide: cut with an ellipsis, or filled up."""
    line = line.copy()
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def spread(left: Text, right: Text, width: int) -> Text:
    """`right` at the right edge; it goes first when both don't fit."""
    space = width - cell_len(left.plain) - cell_len(right.plain)
    return fit(left, width) if space < 1 else Text.assemble(left, " " * space, right)


def rule(title: str, width: int) -> Text:
    head = f"── {title} "
    return Text.assemble(("── ", "dim"), (title, f"bold {ACCENT}"), (" " + "─" * max(0, width - cell_len(head)), "dim"))


def beside(columns: Sequence[tuple[int, Sequence[Text]]], gap: int = 2) -> list[Text]:
    """Blocks of lines next to each other, each with its width."""
    height = max(len(lines) for _, lines in columns)
    rows = []
    for index in range(height):
        row = Text()
        for place, (width, lines) in enumerate(columns):
            row.append(" " * gap if place else "")
            row.append_text(fit(lines[index] if index < len(lines) else Text(), width))
        rows.append(row)
    return rows


def bar(part: float, width: int) -> str:
    """From the left, in eighths of a cell; something for anything above 0."""
    partial = " ▏▎▍▌▋▊▉█"
    if not width:
        return ""
    eighths = max(1 if part > 0 else 0, round(min(part, 1.0) * width * 8))
    return ("█" * (eighths // 8) + (partial[eighths % 8] if eighths % 8 else "")).ljust(width)


def graph(values: Sequence[float], width: int, height: int) -> list[Text]:
    """The newest `width` values as columns, the newest at the right, the highest as high as the graph."""
    shown = list(values)[-width:]
    top = max([*shown, 1.0])
    levels = [0] * (width - len(shown)) + [max(1, round(value / top * height * 8)) for value in shown]
    rows = []
    for row in reversed(range(height)):
        cells = "".join(EIGHTHS[min(8, max(0, level - row * 8))] for level in levels)
        rows.append(Text(cells, ACCENT))
    return rows
