"""What was measured as Markdown and as plots (SVG)."""

import html
import re
import sys
from pathlib import Path

from . import cpu, latency

# Of the server to compare with, ours and the floor, as every result names them.
COLOURS = ["#b0b7c3", "#c8452f", "#4a7fb5"]


def model():
    """The processor's name."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def write(record, folder):
    """Puts tables and plots of a record into a folder, those of the parts that it has."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables(record).items():
        (folder / f"{name}.md").write_text(text)
    plots(record, folder)


def document(record, path, images):
    """Renews a document, between the lines `<!-- NAME -->` and `<!-- end of NAME -->`, and its plots."""
    text = path.read_text()
    for name, table in tables(record).items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        if not pattern.search(text):
            sys.exit(f"bench: {path} has no place for {name}")
        text = pattern.sub(lambda found: f"{found[1]}{table}{found[2]}", text)
    path.write_text(text)
    images.mkdir(exist_ok=True)
    plots(record, images)


def tables(record):
    makers = {"cpu": cpu_table, "latency": latency_table}
    return {name: caption(record) + make(record[name]) for name, make in makers.items() if name in record}


def caption(record):
    machine, arguments = record["machine"], record["arguments"]
    return (
        f"Measured {record['time'][:10]}: {machine['cpus']} CPUs ({machine['model']}), Linux {machine['kernel']}; "
        f"medians of {arguments['rounds']} rounds, {arguments['clients']} connections.\n\n"
    )


def cpu_table(results):
    theirs, ours, floor = results[0]["cpu_us"]
    lines = [
        f"| command | -P | {theirs}, us | {ours}, us | {floor}, us | of {theirs} | bar | of the {floor} | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        times = " | ".join(f"{result['cpu_us'][name]:.2f}" for name in (theirs, ours, floor))
        failed = "**fails**" if cpu.failures(result) else "holds"
        lines.append(
            f"| {result['command']} | {result['pipeline']} | {times} | {result['cpu_ratio']:.2f} | {result['bar'] or ''} | "
            f"{result['floor_ratio']:.2f} | {failed} |"
        )
    held = sum(not cpu.failures(result) for result in results)
    return "\n".join(lines) + f"\n\n{held} of {len(results)} are within their bars.\n"


def latency_table(results):
    lines = [
        "| -P | requests per second | | p50, us | p99, us | p99.9, us | |",
        "| ---: | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        theirs, ours = result["latency"]
        verdicts = {theirs: "", ours: "holds" if latency.holds(result, ours, theirs) else "**fails**"}
        for name, verdict in verdicts.items():
            cells = " | ".join(f"{result['latency'][name][field]:,.0f}" for field in latency.FIELDS)
            lines.append(f"| {result['pipeline']} | {result['rate']:,.0f} | {name} | {cells} | {verdict} |")
    return "\n".join(lines) + "\n"


def plots(record, folder):
    for pipeline in sorted({result["pipeline"] for result in record.get("cpu", [])}):
        results = [result for result in record["cpu"] if result["pipeline"] == pipeline]
        (folder / f"cpu-{pipeline}.svg").write_text(cpu_plot(results, pipeline))


def cpu_plot(results, pipeline):
    """Bars for each command: what each server takes, as a share of redis-server's, with the microseconds beside it."""
    left, width, bar, gap, top = 120, 460, 9, 8, 56
    group = 3 * bar + gap
    names = list(results[0]["cpu_us"])
    most = max(result["cpu_us"][name] / result["cpu_us"][names[0]] for result in results for name in names)
    height = top + group * len(results) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="18" font-size="13">Server CPU time per request at -P {pipeline}, us '
        f"(bars: as a share of {html.escape(names[0])}'s)</text>",
    ]
    for place, (name, colour) in enumerate(zip(names, COLOURS)):
        x = left + place * 120
        out.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{x + 15}" y="39">{html.escape(name)}</text>')
    for row, result in enumerate(results):
        y = top + row * group
        out.append(f'<text x="{left - 8}" y="{y + 17}" text-anchor="end">{html.escape(result["command"][:18])}</text>')
        for place, (name, colour) in enumerate(zip(names, COLOURS)):
            us = result["cpu_us"][name]
            length, at = us / result["cpu_us"][names[0]] / most * width, y + place * bar
            out.append(f'<rect x="{left}" y="{at}" width="{length:.1f}" height="{bar - 1}" fill="{colour}"/>')
            out.append(f'<text x="{left + length + 4:.1f}" y="{at + 8}" font-size="9">{us:.2f}</text>')
        if result["bar"]:
            x = left + result["bar"] / most * width
            out.append(f'<path d="M{x:.1f} {y - 1}v{3 * bar}" stroke="black" stroke-dasharray="2 2"/>')
    return "\n".join([*out, "</svg>"]) + "\n"
