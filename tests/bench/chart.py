"""The chart: a panel for each case, a bar for each server, the shorter the better; readable by day and by night."""
from __future__ import annotations

from html import escape
from typing import Any

from servers import OURS_TLS, PACED, RATES

WIDTH, COLUMNS, GAP = 880, 2, 40
MARGIN, HEAD, FOOT = 10, 64, 62   # beside the panels, above and below them
TITLE, BAR, STEP = 46, 14, 22     # a panel's title; a bar and its line
NAME, VALUE = 92, 62              # room for names left of the bars and values right of them
CUT_AT, CUT_BEFORE, CUT = 5, 20, 4  # what is so many times h2echod's is cut, so far before its end, by such a gap

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 17px; font-weight: 600; }
  .case { font-size: 14px; font-weight: 600; }
  .dim { font-size: 12px; fill: #59636e; }
  .end { text-anchor: end; }
  .ours { font-weight: 600; }
  rect { fill: #9aa4af; }
  rect.ours { fill: #0969da; }
  rect.floor { fill: #d1d9e0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .dim { fill: #9198a1; }
    rect { fill: #656c76; }
    rect.ours { fill: #4493f8; }
    rect.floor { fill: #3d444d; }
  }"""

UNITS = {"cpu_us": "CPU microseconds a request", "kib_per_connection": "KiB a connection",
         "requests_per_s": "requests a second: the longer the better"}


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(words)}</text>'


def short(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def scale_of(values: dict[str, float]) -> float:
    """The largest value that a bar shows in full."""
    most = CUT_AT * values.get("h2echod", max(values.values()))
    return max(value for value in values.values() if value <= most or value == min(values.values()))


def rectangle(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" rx="2" class="{kind}"/>'


def bar(x: float, y: float, width: float, share: float, kind: str) -> list[str]:
    """A bar that takes this share of the width, or all of it with a gap where it is too long."""
    if share <= 1:
        return [rectangle(x, y, max(1.0, width * share), kind)]
    return [rectangle(x, y, width - CUT_BEFORE, kind),
            rectangle(x + width - CUT_BEFORE + CUT, y, CUT_BEFORE - CUT, kind)]


def panel(x: float, y: float, width: float, case: str, told: dict[str, Any]) -> list[str]:
    unit = told["judged_by"]
    values = {name: found["median"][unit] for name, found in told["servers"].items()}
    room = width - NAME - VALUE
    lines = [text(x, y + 14, f"{case}: {UNITS[unit]}", "case"), text(x, y + 31, told["what"], "dim")]
    for row, name in enumerate(sorted(values, key=values.__getitem__, reverse=unit in RATES)):
        top = y + TITLE + row * STEP
        share = values[name] / scale_of(values)
        kind = {"h2echod": "ours", OURS_TLS: "ours", "floor": "floor", PACED: "floor"}.get(name, "")
        lines += [text(x + NAME - 8, top + 11, name, f"end {kind}".strip()),
                  *bar(x + NAME, top, room, share, kind),
                  text(x + NAME + room * min(1.0, share) + 6, top + 11, short(values[name]), kind)]
    return lines


def heights(cases: dict[str, Any]) -> list[float]:
    """Of each row of panels: that of the panel with the most bars."""
    counts = [len(told["servers"]) for told in cases.values()]
    rows = [counts[at:at + COLUMNS] for at in range(0, len(counts), COLUMNS)]
    return [TITLE + max(row) * STEP + 20 for row in rows]


def chart(told: dict[str, Any]) -> str:
    """An SVG picture of what results.json holds."""
    rows = heights(told["cases"])
    height = HEAD + sum(rows) + FOOT
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    about = told["machine"]
    versions = ", ".join(f"{name} {server['version']}".strip() for name, server in told["servers"].items())
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
             f'height="{height:.0f}" role="img">', "<title>What a request costs h2echod and its peers</title>",
             f"<style>{STYLE}</style>", text(MARGIN, 22, "What a request costs, the shorter the better", "title"),
             text(MARGIN, 42, "h2echod and node echo the request's fields; h2o, nghttpd and nginx send a file of "
                              "130 bytes; a bar with a gap is longer", "dim")]
    for number, (case, found) in enumerate(told["cases"].items()):
        row, column = divmod(number, COLUMNS)
        lines += panel(MARGIN + column * (width + GAP), HEAD + sum(rows[:row]), width, case, found)
    cores = f"{about['cores_used']} of {about['cores']} cores, Linux {about['kernel']}"
    rounds = f"median of {told['rounds']} rounds" if told["rounds"] > 1 else "one round"
    lines += [text(MARGIN, height - 44, f"{told['date']}, {rounds}: {told['command']}", "dim"),
              text(MARGIN, height - 27, f"{about['cpu']}, {cores}", "dim"),
              text(MARGIN, height - 10, versions, "dim"), "</svg>"]
    return "\n".join(lines) + "\n"
