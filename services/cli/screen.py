"""The live screen: one look at everything as a person reads it. Fits 100 columns and 35 lines.

Colours mean something: green is fine, yellow waits, red is wrong; all else is plain or dim.
"""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.operations.watching.overview import Overview, Part
from services.operations.watching.rates import NEVER
from services.operations.watching.sums import Sum

WIDTH = 100
REASONS_SHOWN = 6
PROBLEMS_SHOWN = 4

_BARS = "▁▂▃▄▅▆▇█"
_DIM = "bright_black"
_UNKNOWN = "-"
_MINUTE_S, _HOUR_S = 60, 3600


def screen(seen: Overview, history: Sequence[float], hint: str) -> RenderableType:
    """Return one look as a screen; ``history`` are messages in a second, oldest first."""
    beside = Table.grid(expand=True)
    for ratio in (8, 6, 9):
        beside.add_column(ratio=ratio)
    beside.add_row(*_beside(seen))
    return Group(
        _head(seen), _parts(seen), _flow(seen, history), _ledger(seen), beside, _foot(seen, hint)
    )


def number(value: float | None) -> str:
    """Return a whole number with its thousands apart; a dash where it is not known."""
    return _UNKNOWN if value is None else f"{value:,.0f}".replace(",", " ")


def rate(value: float | None) -> str:
    """Return a number a second, with a decimal where it is small."""
    if value is None:
        return _UNKNOWN
    return f"{value:.1f}" if 0 < value < 10 else number(value)  # noqa: PLR2004 # two digits say enough


def seconds(value: float | None) -> str:
    """Return a delay in the unit that a person would say it in."""
    if value is None:
        return _UNKNOWN
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def duration(value: float | None) -> str:
    """Return a time to wait: seconds, minutes or hours, or that waiting is no use."""
    if value is None:
        return _UNKNOWN
    if value == NEVER:
        return "it grows"
    if value < _MINUTE_S:
        return f"{value:.0f} s"
    return f"{value / _MINUTE_S:.0f} min" if value < _HOUR_S else f"{value / _HOUR_S:.1f} h"


def _head(seen: Overview) -> Table:
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column()
    head.add_column(justify="right")
    title = Text.assemble(("citytally", "bold"), ("  every reading accounted for", _DIM))
    head.add_row(title, Text(f"{seen.at.astimezone():%Y-%m-%d %H:%M:%S}", style=_DIM))
    return head


def _parts(seen: Overview) -> Panel:
    grid = Table.grid(padding=(0, 1), expand=True)
    for ratio in (9, 11):
        grid.add_column(ratio=ratio)
    servers = [part for part in seen.parts if part.is_server]
    services = [part for part in seen.parts if not part.is_server]
    for n in range(max(len(servers), len(services))):
        grid.add_row(*[_part(group[n]) if n < len(group) else "" for group in (servers, services)])
    return _panel("servers and services", grid)


def _part(part: Part) -> Text:
    colour = "green" if part.reason is None else "red" if part.state == "fatal" else "yellow"
    if part.reason is None:
        said = Text(part.address or part.state, style=_DIM)
    else:
        said = Text(part.reason, style=colour)
    line = Text.assemble(("● ", colour), f"{part.name:<11}", said)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _flow(seen: Overview, history: Sequence[float]) -> Panel:
    flow = seen.flow
    figures = {
        "messages in": f"{rate(flow.in_per_s)} /s",
        "messages out": f"{rate(flow.out_per_s)} /s",
        "rows": f"{rate(flow.rows_per_s)} /s",
        "delay p50": seconds(flow.delay_p50_s),
        "delay p95": seconds(flow.delay_p95_s),
        "lag": number(seen.lag),
        "drained in": duration(flow.drained_in_s),
        "in gateway": number(seen.in_flight),
    }
    table = Table.grid(expand=True)
    for _ in figures:
        table.add_column(justify="right", ratio=1)
    table.add_row(*[Text(name, style=_DIM) for name in figures])
    table.add_row(*figures.values())
    return _panel("flow", Group(table, Text(sparkline(history, WIDTH - 4), style="green")))


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the newest values as bars of eight heights, the highest one full."""
    newest = list(values)[-width:]
    most = max(newest, default=0.0)
    if most <= 0:
        return "".join(_BARS[0] for _ in newest)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] for value in newest)


def _ledger(seen: Overview) -> Panel:
    if seen.figures is None:
        return _panel("ledger", Text("PostgreSQL does not answer", style="yellow"))
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(min_width=10)
    table.add_column(justify="right", min_width=12)
    table.add_column(min_width=1)
    for _ in range(5):
        table.add_column(justify="right", min_width=11)
    table.add_column(justify="right")
    for one in seen.sums:
        _add_sum(table, one)
    return _panel("ledger", table)


def _add_sum(table: Table, one: Sum) -> None:
    blank = [""] * (5 - len(one.parts))
    names = [Text(name, style=_DIM) for name in one.parts]
    table.add_row("", Text(one.whole, style=_DIM), "", *names, *blank, "")
    mark = Text("✓", style="green") if one.holds else Text("✗", style="bold red")
    figures = [number(n) for n in one.parts.values()]
    table.add_row(one.title, number(one.n), Text("=", style=_DIM), *figures, *blank, mark)


def _beside(seen: Overview) -> list[Panel]:
    """Return three counts as panels of one height."""
    figures = seen.figures
    counts = {
        "rows stored": dict(sorted(figures.rows.items())) if figures else {},
        "devices": figures.devices if figures else {},
        "quarantine, open": _ranked(figures.open_by_reason) if figures else {},
    }
    height = max(1, *map(len, counts.values())) + 2
    return [_panel(title, _counts(shown), height) for title, shown in counts.items()]


def _ranked(by_reason: dict[str, int]) -> dict[str, int]:
    """Return the most frequent reasons, and the others as one."""
    ranked = sorted(by_reason.items(), key=lambda item: -item[1])
    others = sum(n for _, n in ranked[REASONS_SHOWN:])
    return dict(ranked[:REASONS_SHOWN]) | ({"others": others} if others else {})


def _counts(counts: dict[str, int]) -> RenderableType:
    if not counts:
        return Text("none", style=_DIM)
    table = Table.grid(expand=True)
    table.add_column()
    table.add_column(justify="right")
    for name, n in counts.items():
        table.add_row(Text(name, style=_DIM), number(n))
    return table


def _foot(seen: Overview, hint: str) -> Text:
    problems = seen.problems()
    foot = Text(no_wrap=True, overflow="ellipsis")
    for problem in problems[:PROBLEMS_SHOWN]:
        foot.append(f" ✗ {problem}\n", style="red")
    if not problems:
        foot.append(" ✓ all is well\n", style="green")
    foot.append(f" {hint}", style=_DIM)
    return foot


def _panel(title: str, contents: RenderableType, height: int | None = None) -> Panel:
    return Panel(
        contents,
        title=f"[{_DIM}]{title}[/]",
        title_align="left",
        box=box.ROUNDED,
        border_style=_DIM,
        padding=(0, 1),
        height=height,
    )
