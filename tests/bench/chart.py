"""The chart of the benchmark's results: a panel for each case, a bar for each server, in light and dark colours."""
from __future__ import annotations

from html import escape
from typing import Any

from servers import OURS_TLS, PACED, RATES

WIDTH, COLUMNS, GAP = 880, 2, 40
MARGIN, HEAD, FOOT = 10, 64, 62   # beside the panels, above and below them
TITLE, BAR, STEP = 46, 14, 22     # heights of a panel's title, of a bar, and of a bar with its gap
NAME, VALUE = 92, 62              # widths of the names left of the bars and of the values right of them
CUT_AT = 5                        # a bar more than this many times as long as h2echod's is cut
CUT_BEFORE, CUT = 20, 4           # how far before its end, and how wide the gap is

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
         "requests_per_s": "requests a second: longer is better"}


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(words)}</text>'


def short(value: float) -> str:
    """The value with about three significant digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def scale_of(values: dict[str, float]) -> float:
    """The largest value whose bar is not cut."""
    most = CUT_AT * values.get("h2echod", max(values.values()))
    return max(value for value in values.values() if value <= most or value == min(values.values()))


def rectangle(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="{BAR}" rx="2" class="{kind}"/>'


def bar(x: float, y: float, width: float, share: float, kind: str) -> list[str]:
    """A bar of this share of the width. A share above 1 makes a bar of the whole width with a gap."""
    if share <= 1:
        return [rectangle(x, y, max(1.0, width * share), kind)]
    return [rectangle(x, y, width - CUT_BEFORE, kind),
            rectangle(x + width - CUT_BEFORE + CUT, y, CUT_BEFORE - CUT, kind)]


def panel(x: float, y: float, width: float, case: str, results: dict[str, Any]) -> list[str]:
    unit = results["judged_by"]
    values = {name: found["median"][unit] for name, found in results["servers"].items()}
    room = width - NAME - VALUE
    lines = [text(x, y + 14, f"{case}: {UNITS[unit]}", "case"), text(x, y + 31, results["what"], "dim")]
    for row, name in enumerate(sorted(values, key=values.__getitem__, reverse=unit in RATES)):
        top = y + TITLE + row * STEP
        share = values[name] / scale_of(values)
        kind = {"h2echod": "ours", OURS_TLS: "ours", "floor": "floor", PACED: "floor"}.get(name, "")
        lines += [text(x + NAME - 8, top + 11, name, f"end {kind}".strip()),
                  *bar(x + NAME, top, room, share, kind),
                  text(x + NAME + room * min(1.0, share) + 6, top + 11, short(values[name]), kind)]
    return lines


def heights(cases: dict[str, Any]) -> list[float]:
    """The height of each row of panels, which is that of the panel with the most bars."""
    counts = [len(results["servers"]) for results in cases.values()]
    rows = [counts[at:at + COLUMNS] for at in range(0, len(counts), COLUMNS)]
    return [TITLE + max(row) * STEP + 20 for row in rows]


def chart(results: dict[str, Any]) -> str:
    """Draw what results.json holds, as SVG."""
    rows = heights(results["cases"])
    height = HEAD + sum(rows) + FOOT
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    about = results["machine"]
    versions = ", ".join(f"{name} {server['version']}".strip() for name, server in results["servers"].items())
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
             f'height="{height:.0f}" role="img">', "<title>What a request costs h2echod and its peers</title>",
             f"<style>{STYLE}</style>", text(MARGIN, 22, "What a request costs: shorter is better", "title"),
             text(MARGIN, 42, "h2echod and node echo the request's fields; h2o, nghttpd and nginx send a file of "
                              "130 bytes; a bar with a gap is longer", "dim")]
    for number, (case, found) in enumerate(results["cases"].items()):
        row, column = divmod(number, COLUMNS)
        lines += panel(MARGIN + column * (width + GAP), HEAD + sum(rows[:row]), width, case, found)
    cores = f"{about['cores_used']} of {about['cores']} cores, Linux {about['kernel']}"
    rounds = f"median of {results['rounds']} rounds" if results["rounds"] > 1 else "one round"
    lines += [text(MARGIN, height - 44, f"{results['date']}, {rounds}: {results['command']}", "dim"),
              text(MARGIN, height - 27, f"{about['cpu']}, {cores}", "dim"),
              text(MARGIN, height - 10, versions, "dim"), "</svg>"]
    return "\n".join(lines) + "\n"
