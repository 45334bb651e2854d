"""The report of an exam: one HTML file that holds everything it shows."""

import base64
import math
from html import escape
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from scanroom.formats.files import atomic
from scanroom.mri.report.page import ExamPage, Picture, SafetyLine, ScanPage
from scanroom.mri.report.words import Rows, duration, quantity

WARNING = "Research use only — not an approved medical device. Not for diagnosis or treatment."
SYNTHETIC = "Simulated by a digital twin: no person and no object was measured."
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The browser is told to fetch nothing and to run nothing."""


def write_report(path: Path, page: ExamPage) -> Path:
    """Write the report; it appears whole or not at all."""
    with atomic(path) as aside:
        aside.write_text(report(page), "utf-8")
    return path


def report(page: ExamPage) -> str:
    """Lay out the report: no script, no address outside, every text escaped."""
    style = files("scanroom.mri.report").joinpath("style.css").read_text("utf-8")
    warning = escape(f"{WARNING} {SYNTHETIC}" if page.is_twin else WARNING)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(page.title)}</title>",
            f"<style>\n{style}</style>\n</head>\n<body>",
            f'<div class="banner" role="note">{warning}</div>\n<main>',
            _header(page),
            *(_scan(scan, number) for number, scan in enumerate(page.scans, start=1)),
            f"<footer>{escape(page.software)} · {warning}</footer>\n</main>\n</body>\n</html>\n",
        ]
    )


def _header(page: ExamPage) -> str:
    """Title, who and what, and where to find each scan."""
    facts: Rows = (
        ("Subject", page.subject),
        ("System", page.system),
        ("Device", page.device),
        ("Date", page.date),
        *page.summary,
        ("Software", page.software),
        ("Exam", page.uid),
    )
    links = "".join(
        f'<li><a href="#scan-{number}">{number}. {escape(scan.title)}</a></li>'
        for number, scan in enumerate(page.scans, start=1)
    )
    return (
        f'<header>\n<div class="mark">Scanroom</div>\n<h1>{escape(page.title)}</h1>'
        + _facts(facts, "facts")
        + (f'\n<ul class="contents">{links}</ul>' if len(page.scans) > 1 else "")
        + "\n</header>"
        + _notes(page.notes)
    )


def _scan(scan: ScanPage, number: int) -> str:
    """One scan, pictures first."""
    times: Rows = tuple((name, duration(time)) for name, time in scan.timings)
    plot = scan.sequence_plot
    parts = [
        f'<section class="scan" id="scan-{number}">',
        f'<div class="head"><h2>{escape(scan.title)}</h2><code>{escape(scan.name)}</code></div>',
        *(_figure(picture, "image") for picture in scan.pictures),
        _facts(scan.highlights, "highlights"),
        _notes(scan.notes),
        '<div class="columns">',
        _pairs("Protocol", scan.protocol),
        '<div class="block">',
        _pairs("Image quality", scan.quality),
        _pairs("Time", times),
        _links(scan.files),
        "</div>\n</div>",
        _safety(scan.safety),
        "" if plot is None else _block("Sequence", _figure(plot, "plot")),
        _pairs("Provenance", scan.provenance, mono=True),
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def _block(heading: str, content: str) -> str:
    return f'<div class="block"><h3>{escape(heading)}</h3>{content}</div>'


def _figure(picture: Picture, kind: str) -> str:
    """Inline a picture at the size it was drawn for."""
    data = base64.b64encode(picture.png).decode("ascii")
    caption = escape(picture.caption)
    return (
        f'<figure class="{kind}"><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _facts(rows: Rows, kind: str) -> str:
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in rows
        if value
    )
    return f'<dl class="{kind}">{items}</dl>' if items else ""


def _notes(notes: tuple[str, ...]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _pairs(heading: str, rows: Rows, *, mono: bool = False) -> str:
    """Two columns: a name and what it is."""
    kind = ' class="mono"' if mono else ""
    body = "".join(
        f"<tr><td>{escape(name)}</td><td{kind}>{escape(value)}</td></tr>" for name, value in rows
    )
    return _block(heading, f'<table class="pairs">{body}</table>') if body else ""


def _links(rows: Rows) -> str:
    """Files beside the report, by relative address."""
    body = "".join(
        f'<tr><td>{escape(name)}</td><td><a class="mono" href="{escape(_address(path))}">'
        f"{escape(path)}</a></td></tr>"
        for name, path in rows
    )
    return _block("Files", f'<table class="pairs">{body}</table>') if body else ""


def _address(path: str) -> str:
    """Return a relative address: what could be read as a scheme or a host is taken as a name."""
    return "./" + quote(path.replace("\\", "/").lstrip("/"))


def _safety(lines: tuple[SafetyLine, ...]) -> str:
    """What the gate saw, each limit with a meter of how far it was used."""
    if not lines:
        return ""
    head = (
        '<tr><th>Limit</th><th class="number">Value</th><th class="number">Ceiling</th>'
        "<th>Used</th><th>Verdict</th><th>Source</th></tr>"
    )
    body = "".join(map(_safety_row, lines))
    return _block("Safety", f'<div class="scroll"><table class="safety">{head}{body}</table></div>')


def _safety_row(line: SafetyLine) -> str:
    known = math.isfinite(line.value) and line.ceiling > 0
    used = min(max(line.value / line.ceiling, 0.0), 1.0) if known else float(not line.passes)
    kind, verdict = ("passes", "passes") if line.passes else ("fails", "exceeds")
    return (
        f'<tr class="{kind}"><td>{escape(line.name)}</td>'
        f'<td class="number">{escape(quantity(line.value, line.unit, 3))}</td>'
        f'<td class="number">{escape(quantity(line.ceiling, line.unit, 3))}</td>'
        f'<td><span class="meter"><i style="width:{100 * used:.1f}%"></i></span></td>'
        f'<td><span class="verdict">{verdict}</span></td>'
        f'<td class="source">{escape(line.source)}</td></tr>'
    )
