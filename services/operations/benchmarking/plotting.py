"""Rate and lag over time as a picture: one small panel for each scenario and number of devices."""

from pathlib import Path
from typing import Any

import numpy as np

from services.operations.benchmarking.report import middle_run

FILE = Path("bench") / "latest.png"
BIN_S = 0.5
COLUMNS = 3
PANEL_INCHES = (4.6, 2.6)
RATE, LAG = "#1b6ca8", "#d9822b"

Series = tuple[list[float], list[float]]


class NoPlotError(Exception):
    """The library that draws is not installed."""


def rate_over_time(timeline: dict[str, Any], bin_s: float = BIN_S) -> Series:
    """Return (seconds, thousands of messages a second), stored within bins of equal length."""
    seconds, stored = timeline["seconds"], timeline["stored"]
    edges = np.arange(0.0, max(seconds[-1], bin_s) + bin_s, bin_s)
    rates = np.diff(np.interp(edges, seconds, stored)) / bin_s / 1000
    return (edges[:-1] + bin_s / 2).tolist(), rates.tolist()


def lag_over_time(timeline: dict[str, Any]) -> Series:
    """Return (seconds, thousands of messages that were acknowledged and are no rows yet)."""
    lag = np.subtract(timeline["sent"], timeline["stored"]).clip(min=0) / 1000
    return timeline["seconds"], lag.tolist()


def plot(state_directory: Path, result: dict[str, Any]) -> Path:
    """Draw the median run of each entry. Raises ``NoPlotError`` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 -- an extra
        from matplotlib.figure import Figure  # noqa: PLC0415 -- likewise
    except ModuleNotFoundError as error:
        raise NoPlotError("no plot: `pip install 'citytally[bench]'` brings matplotlib") from error
    entries = result["scenarios"]
    columns = min(COLUMNS, len({entry["devices"] for entry in entries}))
    rows = -(-len(entries) // columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for entry, panel in zip(entries, panels, strict=False):
        _draw(entry, panel)
    for panel in panels[len(entries) :]:
        panel.set_axis_off()
    path = state_directory / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _draw(entry: dict[str, Any], panel: Any) -> None:  # noqa: ANN401 -- matplotlib's axes
    timeline = middle_run(entry)["timeline"]
    panel.set_title(f"{entry['name']}, {entry['devices']:,} devices", fontsize=9)
    behind = panel.twinx()
    behind.fill_between(*lag_over_time(timeline), color=LAG, alpha=0.25, linewidth=0)
    behind.set_ylabel("lag, thousand messages", color=LAG, fontsize=7)
    panel.plot(*rate_over_time(timeline), color=RATE, linewidth=1.6)
    panel.set_ylabel("thousand messages/s", color=RATE, fontsize=7)
    panel.set_xlabel("seconds", fontsize=7)
    for axis in (panel, behind):
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
    panel.set_zorder(behind.get_zorder() + 1)
    panel.patch.set_visible(False)
