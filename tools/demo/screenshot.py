"""The screen as a picture, or as text."""

import io
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tools.demo.snapshot import Addresses, Snapshot
from tools.demo.view import screen

WIDTH, HEIGHT = 120, 40
THEME = TerminalTheme(
    (13, 17, 23),
    (201, 209, 217),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
# rich's own frame without its title bar, and without its reference to a font on the web: a picture loads nothing.
SVG = """\
<svg class="rich-terminal" viewBox="0 18 {width} {height}" xmlns="http://www.w3.org/2000/svg">
    <style>
    .{unique_id}-matrix {{
        font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
        font-size: {char_height}px;
        line-height: {line_height}px;
        font-variant-east-asian: full-width;
    }}
    {styles}
    </style>
    <defs>
    {lines}
    </defs>
    <rect fill="#0d1117" stroke="#30363d" x="1" y="19" width="{width}" height="{height}" rx="8"/>
    <g transform="translate({terminal_x}, {terminal_y})">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
    </g>
</svg>
"""


def save(path: Path, snapshot: Snapshot, addresses: Addresses) -> None:
    """An SVG, or for a name that ends in .txt the bare text. Raises OSError."""
    lines = screen(snapshot, addresses, WIDTH, HEIGHT)
    if path.suffix == ".txt":
        path.write_text("".join(f"{line.plain.rstrip()}\n" for line in lines))
        return
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in lines:
        console.print(line, no_wrap=True, overflow="crop")
    path.write_text(console.export_svg(title="", theme=THEME, code_format=SVG, unique_id="demo"))
