#!/usr/bin/env python3
"""Shows what tools/measure.py has found (benches/measured.json): benches/measured.svg and the table in README.md.

usage: tools/measured.py
"""
import json
import os

BEGIN, END = "<!-- measured: tools/measure.py --publish -->\n", "<!-- /measured -->\n"
COLOURS = {"haproxy": "#888888", "proxy": "#c0392b", "predixy": "#2980b9", "envoy": "#8e44ad", "nutcracker": "#27ae60"}
LEFT, WIDTH, BAR, GAP, TOP = 190, 460, 14, 16, 40


def plot(found):
    """Bars of CPU per request, as a ratio to the relay, load by load."""
    loads = found["loads"]
    longest = max(v["ratio"] for load in loads.values() for v in load.values())
    parts, y = [], TOP
    for name, load in loads.items():
        parts.append(f'<text x="{LEFT - 8}" y="{y + BAR * len(load) / 2 + 4:.0f}" text-anchor="end">{name}</text>')
        for process, seen in load.items():
            length = seen["ratio"] / longest * WIDTH
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" '
                         f'fill="{COLOURS.get(process, "#555555")}"/>')
            parts.append(f'<text x="{LEFT + length + 5:.1f}" y="{y + BAR - 4}">{seen["ratio"]:.2f} {process}</text>')
            y += BAR
        y += GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 130}" height="{y}" '
            'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
            f'<text x="{LEFT}" y="22" font-size="14">CPU time per request, relay (haproxy, mode tcp) = 1</text>\n')
    return head + "\n".join(parts) + "\n</svg>\n"


def cell(seen):
    return f"{seen['us']:.2f} ({seen['ratio']:.2f})" if seen else ""


def table(found):
    """CPU microseconds per request and ratios, memory and latency, as Markdown."""
    names = list(found["start_kib"])
    lines = ["| CPU us per request (ratio to the relay) | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for load, seen in found["loads"].items():
        lines.append(f"| {load} | " + " | ".join(cell(seen.get(n)) for n in names) + " |")
    for title, key in (("memory after start, KiB", "start_kib"), ("memory per idle client, KiB", "idle_kib")):
        if key in found:
            lines.append(f"| {title} | " + " | ".join(str(found[key].get(n, "")) for n in names) + " |")
    loads = found["loads"].get("P32, 50 clients, 3 B", {})
    for title, key in (("requests/s at P32", "per_second"), ("share of a core used meanwhile", "busy")):
        if all(key in seen for seen in loads.values()):
            cells = [f"{loads[n][key]:.0%}" if key == "busy" else f"{loads[n][key]:,}" for n in names]
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    for generator, key in (("", "latency"), (" by memtier_benchmark", "memtier")):
        lines.extend(latency_rows(found.get(key, {}), generator, names))
    lines.append(f"\nThe binary has {found['binary_kib']} KiB.")
    return "\n".join(lines) + "\n"


def latency_rows(latency, generator, names):
    """A row for each percentile, if there are any."""
    for percentile in ("p50", "p99") if latency else ():
        cells = [f"{latency[n][percentile]:.0f} ({latency[n][percentile + '_ratio']:.2f})" if n in latency else ""
                 for n in names]
        title = f"latency at 10,000 requests/s{generator}, {percentile}, us (ratio to the server itself)"
        yield f"| {title} | " + " | ".join(cells) + " |"


def publish(found, root):
    with open(f"{root}/benches/measured.svg", "w") as f:
        f.write(plot(found))
    with open(f"{root}/README.md") as f:
        text = f.read()
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    with open(f"{root}/README.md", "w") as f:
        f.write(f"{before}{BEGIN}\n![CPU time per request](benches/measured.svg)\n\n{table(found)}\n{END}{after}")


if __name__ == "__main__":
    ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    with open(f"{ROOT}/benches/measured.json") as f:
        publish(json.load(f), ROOT)
