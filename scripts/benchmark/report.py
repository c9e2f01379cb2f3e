"""What was measured as Markdown and as plots (SVG)."""

import html
import re
import sys
from pathlib import Path

from . import connections, cpu, given_back, latency, memory, scale

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
    """Every table as Markdown, by the name of its part."""
    makers = {
        "cpu": cpu_table,
        "latency": latency_table,
        "memory": memory_table,
        "given-back": given_back_table,
        "scale": scale_table,
        "connections": connections_table,
    }
    return {name: caption(record, name) + make(record[name]) for name, make in makers.items() if name in record}


def caption(record, name):
    machine, arguments = record["machine"], record["arguments"]
    how = f"; medians of {arguments['rounds']} rounds, {arguments['clients']} connections" if name in ("cpu", "latency") else ""
    return f"Measured {record['time'][:10]}: {machine['cpus']} CPUs ({machine['model']}), Linux {machine['kernel']}{how}.\n\n"


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


def verdict(holds):
    return "holds" if holds else "**fails**"


def memory_table(results):
    theirs, ours = results[0]["figures"]
    lines = [
        f"| what | type | {theirs}: data | all | {ours}: data | all | of {theirs}'s data | of all | bar | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        cells = [f"{memory.each(result, name, field):.1f}" for name in (theirs, ours) for field in ("used", "whole")]
        cells += [f"{memory.ratio(result, ours, theirs, field):.2f}" for field in ("used", "whole")]
        lines.append(
            f"| {result['count']:,} {result['what']} | {result['type']} | {' | '.join(cells)} | {result['bar'] or ''} | "
            f"{verdict(memory.holds(result, ours, theirs))} |"
        )
    return "\n".join(lines) + "\n"


def given_back_table(results):
    theirs, ours = results[0]["figures"]
    lines = [
        "| MiB | before | 4 of 5 deleted | idle | of before | half given back | |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for result in results:
        for name, found in result["figures"].items():
            cells = " | ".join(f"{found[stage] / (1 << 20):,.0f}" for stage in ("before", "deleted", "idle"))
            half = "never" if found["half_after"] is None else f"after {found['half_after']:.1f} s"
            said = verdict(given_back.holds(found)) if name == ours else ""
            lines.append(f"| {name} | {cells} | {found['idle'] / found['before']:.2f} | {half} | {said} |")
    return "\n".join(lines) + "\n"


def scale_table(results):
    theirs, ours = results[0]["figures"]
    lines = [
        "| | | p50, us | p99.9, us | p99.99, us | most, us | over 1 ms | so idle | of | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for result in results:
        for name, found in result["figures"].items():
            cells = " | ".join(f"{found[field]:,.0f}" for field in ("p50_us", "p999_us", "p9999_us", "most_us"))
            said = verdict(scale.holds(found)) if name == ours else ""
            lines.append(
                f"| {result['count']:,} {result['case']} | {name} | {cells} | {found['over']:,} | {found.get('control', '')} | "
                f"{found['batches']:,} | {said} |"
            )
    return "\n".join(lines) + "\n"


def connections_table(results):
    count, figures = results["count"], results["figures"]
    theirs, ours = figures
    lines = [
        f"| bytes for each of {count:,} | {theirs} | {ours} | of which private |",
        "| --- | ---: | ---: | ---: |",
    ]
    for stage in connections.STAGES:
        cells = [f"{connections.each(figures[theirs][stage], count)[0]:,.0f}" if stage in figures[theirs] else "-"]
        cells += [f"{number:,.0f}" for number in connections.each(figures[ours][stage], count)]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
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
