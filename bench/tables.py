"""Results as text: the closing summary in the terminal, and the Markdown page of a machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.results import Ratio, Results, Row, Section

__all__ = ["all_ratios", "markdown", "summary"]

TITLES = {
    "ratios": "Ratios",
    "busy": "On a busy machine",
    "paper_table": "AES and Veilsum: the paper's table",
    "peers": "Other ways to sum encrypted values",
    "engines": "Engines: OpenFHE beside the native one",
    "scaling": "Scaling",
    "files": "From file to file",
    "kernels": "Kernels",
}
CALM = 0.3  # load a core beyond which a run was disturbed


def all_ratios(results: Results) -> list[Ratio]:
    """Return the ratios of every section."""
    return [ratio for section in results.sections.values() for ratio in section.ratios]


def summary(results: Results) -> list[str]:
    """Return the lines that close a run: terms, ratios, what is missing."""
    sections = [results.sections[name] for name in TITLES if name in results.sections]
    ratios = all_ratios(results)
    if not sections:
        return []
    lines = ["", "Veilsum benchmarks", *(f"  {line}" for line in _terms(sections[0].terms))]
    if ratios:
        width = max(len(ratio.name) for ratio in ratios)
        lines += ["", f"  {'ratio':<{width}}   median  (quartiles)        must      goal"]
        for ratio in ratios:
            spread = f"({_short(ratio.low)} ... {_short(ratio.high)})"
            lines.append(
                f"  {ratio.name:<{width}}  {_short(ratio.median):>7}  {spread:<17}  "
                f"{_target(ratio, ratio.must):<8}  {_target(ratio, ratio.goal):<8}  "
                f"{_verdict(ratio)}".rstrip()
            )
    gaps = [missing for section in sections for missing in section.missing]
    if gaps:
        lines += ["", "  not measured:"]
        lines += [f"    {missing.what}: {missing.reason}" for missing in gaps]
    return lines


def markdown(results: Results, plots: Sequence[str] = ()) -> str:
    """Return the page of a machine.

    Parameters
    ----------
    results : Results
        What to show.
    plots : sequence of str
        File names of plots beside the page; the one of a section contains the section's name.
    """
    sections = {name: results.sections[name] for name in TITLES if name in results.sections}
    blocks = [f"# Benchmarks on {results.machine}"]
    blocks.append(
        "Made by `make bench`; bench/README.md says what the words mean and how to repeat it. "
        "Times are medians. Every case checked its result."
    )
    makers = {
        "ratios": _ratios,
        "busy": _ratios,
        "paper_table": _paper_table,
        "peers": _peers,
        "engines": _engines,
        "scaling": _scaling,
        "files": _files,
        "kernels": _kernels,
    }
    for name, section in sections.items():
        blocks.append(f"## {TITLES[name]}")
        blocks.append("\n".join(f"- {line}" for line in _terms(section.terms)))
        blocks += makers[name](section)
        blocks += [f"![{TITLES[name]}]({plot})" for plot in plots if name in plot]
        if section.missing:
            gaps = "\n".join(f"- {gap.what}: {gap.reason}" for gap in section.missing)
            blocks.append(f"Not measured:\n\n{gaps}")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _terms(terms: dict[str, Any]) -> list[str]:
    level = terms["isa"] + (" (forced)" if terms["isa_forced"] else "")
    load = terms["load_at_start"]
    disturbed = load is not None and load > CALM * terms["cores"]
    lines = [
        f"{terms['cpu']} ({terms['cpu_id']}), {terms['cores']} cores, "
        f"{terms['memory_gib']} GiB, {terms['system']}; ISA level {level} "
        f"of {', '.join(terms['isa_present'])}",
        f"veilsum {terms['veilsum']} ({terms['commit']}), {terms['compiler']}, "
        f"{'OpenMP' if terms['openmp'] else 'no OpenMP'}"
        f"{', testing build' if terms['testing_build'] else ''}; "
        f"Python {terms['python']}, NumPy {terms['numpy']}, "
        f"cryptography {terms['cryptography']} ({terms['openssl']})",
        f"{terms['date']}, profile {terms['profile']}, load at the start "
        f"{'unknown' if load is None else load}",
    ]
    if terms["profile"] == "smoke":
        lines.append("a smoke run: it shows that the benchmarks work, its numbers mean nothing")
    if disturbed:
        lines.append("the machine was busy with other work: these numbers are no measurement")
    return lines


def _ratios(section: Section) -> list[str]:
    rows = [
        [
            ratio.name,
            f"**{_short(ratio.median)}**",
            f"{_short(ratio.low)} … {_short(ratio.high)}",
            _target(ratio, ratio.must),
            _target(ratio, ratio.goal),
            _verdict(ratio),
            _duration(ratio.numerator_s),
            _duration(ratio.denominator_s),
            ratio.note,
        ]
        for ratio in section.ratios
    ]
    head = ["ratio", "median", "quartiles", "must", "goal", "", "first", "second", "terms"]
    return [
        "Interleaved rounds in one run, one thread unless the row says so. The median of the "
        "rounds' ratios.",
        _table(head, rows, "lrrrrlrrl"),
    ]


def _paper_table(section: Section) -> list[str]:
    blocks = [
        "A record is one fp32 value (4 bytes) or a row of 32 fp32 features (128 bytes). AES-256 "
        "is OpenSSL through `cryptography`, per record (one call for each) or in bulk (one call "
        "for all); on several cores it runs in as many processes, Veilsum in as many threads. "
        "AES's ciphertexts cannot be summed; Veilsum's can. Times in milliseconds."
    ]
    for kind, records in _unique((row.case["record"], row.case["records"]) for row in section.rows):
        chosen = [
            row
            for row in section.rows
            if row.case["record"] == kind and row.case["records"] == records
        ]
        counts = sorted({row.threads for row in chosen})
        head = ["method"]
        head += [f"{step}, {_threads(n)}" for step in ("encrypt", "decrypt") for n in counts]
        body = []
        for method in _unique(_series(row.method) for row in chosen):
            cells = [method]
            for step in ("encrypt", "decrypt"):
                for count in counts:
                    row = _find(
                        chosen,
                        _series(method),
                        lambda r, s=step, n=count: (r.operation, r.threads) == (s, n),
                    )
                    cells.append(_milliseconds(row))
            sizes = [row for row in chosen if _series(row.method) == method and row.nbytes]
            cells.append(f"{sizes[0].nbytes / records:.4g}" if sizes and sizes[0].nbytes else "")
            body.append(cells)
        blocks.append(f"### {records:,} records, each one {kind}")
        blocks.append(_table([*head, "bytes a record"], body, "l" + "r" * len(head)))
        blocks.append(_notes(chosen))
    return blocks


def _peers(section: Section) -> list[str]:
    ours = {row.operation: row for row in section.rows if row.case["peer"] == "veilsum"}
    body = []
    for method in _unique(row.method for row in section.rows):
        rows = {row.operation: row for row in section.rows if row.method == method}
        first = next(iter(rows.values()))
        cells = [method, f"{first.values:,}"]
        for step in ("encrypt", "add", "decrypt"):
            cells.append(_rate(rows[step].values_per_s) if step in rows else "")
        encrypt = rows.get("encrypt")
        cells.append(f"{encrypt.bytes_per_value:.4g}" if encrypt and encrypt.nbytes else "")
        if encrypt and "encrypt" in ours:
            cells.append(_times(ours["encrypt"].values_per_s / encrypt.values_per_s))
        else:
            cells.append("")
        body.append([*cells, first.note])
    head = ["scheme", "values", "encrypt", "add", "decrypt", "bytes a value"]
    return [
        "Values a second, one thread each, each in its own process. `add` adds one upload to "
        "another, `decrypt` opens a sum; the last but one column is Veilsum's encrypt rate over "
        "this one's. Masking is no encryption: it needs all clients to stay, or secret shares.",
        _table([*head, "Veilsum / this", "terms"], body, "lrrrrrrl"),
    ]


def _engines(section: Section) -> list[str]:
    body = []
    for method in _unique(row.method for row in section.rows):
        for threads in sorted({row.threads for row in section.rows if row.method == method}):
            rows = {
                row.operation: row
                for row in section.rows
                if row.method == method and row.threads == threads
            }
            first = next(iter(rows.values()))
            cells = [method, str(threads), f"{first.values:,}"]
            for step in ("encrypt", "weight", "add", "decrypt"):
                cells.append(_rate(rows[step].values_per_s) if step in rows else "")
            encrypt = rows.get("encrypt")
            cells.append(f"{encrypt.bytes_per_value:.4g}" if encrypt and encrypt.nbytes else "")
            body.append([*cells, first.note])
    if not body:
        return []
    head = ["engine", "threads", "values", "encrypt", "weight", "add", "decrypt"]
    return [
        *_ratios(section),
        "Values a second. `weight` multiplies one upload by a real number and rescales it; `add` "
        "adds two uploads; `decrypt` takes a decryption share and the fusion for OpenFHE, and an "
        "opened sum for the native engine. OpenFHE's steps are timed on ciphertexts in memory.",
        _table([*head, "bytes a value", "terms"], body, "lrrrrrrrl"),
    ]


def _scaling(section: Section) -> list[str]:
    blocks = []
    for axis, title in (
        ("size", "Over the length of the vector (10 clients)"),
        ("threads", "Over threads (10 clients)"),
        ("clients", "Over clients (one thread)"),
    ):
        rows = [row for row in section.rows if row.case["axis"] == axis]
        if not rows:
            continue
        body = [
            [
                row.operation,
                f"{row.values:,}",
                str(row.case["clients"]),
                str(row.threads),
                row.method.removeprefix("Veilsum, "),
                _duration(row.seconds),
                f"{row.ns_per_value:.3g}",
                f"{row.bytes_per_value:.4g}" if row.nbytes else "",
            ]
            for row in sorted(rows, key=lambda row: row.operation)
        ]
        head = ["step", "values", "clients", "threads", "plan", "time", "ns a value"]
        blocks += [f"### {title}", _table([*head, "bytes a value"], body, "lrrrlrrr")]
    for axis, title in (
        ("committee", "Over a committee's clients and members (1,000 values, one thread)"),
        ("model", "Opening over the length of the vector (one member)"),
    ):
        rows = [row for row in section.rows if row.case["axis"] == axis]
        if not rows:
            continue
        body = [
            [
                row.operation,
                f"{row.values:,}",
                str(row.case["clients"]),
                str(row.case["members"]),
                row.method.removeprefix("Veilsum, "),
                _duration(row.seconds),
                f"{row.nbytes:,}",
                row.note,
            ]
            for row in rows
        ]
        head = ["step", "values", "clients", "members", "plan", "time", "bytes", "of what"]
        blocks += [f"### {title}", _table(head, body, "lrrrlrrl")]
    return blocks


def _files(section: Section) -> list[str]:
    body = [
        [
            row.operation,
            f"{row.values:,}",
            str(row.threads),
            _duration(row.seconds),
            f"{_rate(row.values_per_s)}",
            f"{row.values_per_s * (row.bytes_per_value or 0.0) / 1e9:.3g}",
        ]
        for row in section.rows
    ]
    head = ["step", "values", "threads", "time", "values/s", "GB of upload a second"]
    return [*_ratios(section), _table(head, body, "lrrrrr") if body else ""]


def _kernels(section: Section) -> list[str]:
    levels = _unique(row.case["level"] for row in section.rows)
    body = []
    for method, n in _unique((row.method, row.case["n"]) for row in section.rows):
        cells = [method, str(n)]
        for level in levels:
            row = _find(
                section.rows,
                method,
                lambda r, n=n, level=level: (r.case["n"], r.case["level"]) == (n, level),
            )
            cells.append(f"{row.ns_per_value:.3g}" if row else "")
        body.append(cells)
    return [
        "Nanoseconds a coefficient, one limb, data in the cache.",
        _table(["kernel", "n", *levels], body, "lr" + "r" * len(levels)),
    ]


def _series(method: str) -> str:
    """Return the method without how its blocks are run: the columns say that."""
    return method.removesuffix(", blocks in series").removesuffix(", blocks in parallel")


def _find(rows: Iterable[Row], method: str, fits: Any) -> Row | None:
    return next((row for row in rows if _series(row.method) == method and fits(row)), None)


def _unique(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))


def _notes(rows: Iterable[Row]) -> str:
    notes: dict[str, list[str]] = {}
    for row in rows:
        for part in filter(None, row.note.split("; ")):
            notes.setdefault(part, []).append(_series(row.method))
    return "\n".join(
        f"- {', '.join(_unique(methods))}: {note}" for note, methods in sorted(notes.items())
    )


def _table(head: Sequence[str], body: Iterable[Sequence[str]], align: str) -> str:
    marks = {"l": ":--", "r": "--:"}
    lines = [head, [marks[letter] for letter in align], *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _threads(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _milliseconds(row: Row | None) -> str:
    if row is None:
        return ""
    star = "*" if "scaled" in row.note else ""
    return f"{_short(row.seconds * 1e3)}{star}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _rate(per_s: float) -> str:
    for unit, size in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if per_s >= size:
            return f"{per_s / size:.3g}{unit}"
    return f"{per_s:.3g}"


def _times(factor: float) -> str:
    """Return a factor to three digits, without an exponent."""
    return f"{float(f'{factor:.3g}'):,.{0 if factor >= 100 else 1}f} ×"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _target(ratio: Ratio, target: float | None) -> str:
    return "" if target is None else f"{'≥' if ratio.at_least else '≤'} {_short(target)}"


def _verdict(ratio: Ratio) -> str:
    return {True: "met", False: "MISSED", None: ""}[ratio.met]
