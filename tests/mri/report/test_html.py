"""One page that holds everything and reaches nowhere."""

import re
from html.parser import HTMLParser

import pytest

from scanroom.core.gate import Finding, Limit
from scanroom.mri.report import (
    ExamPage,
    Picture,
    SafetyLine,
    ScanPage,
    mosaic,
    report,
    write_report,
)
from tests.formats.images import AXIAL, image

EVIL = "<script>alert('x')</script>\" onerror=\"1&"
VOID = {"meta", "img", "link", "br", "hr"}


class Reader(HTMLParser):
    """Collects tags, addresses and text; complains when tags do not close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.attributes, self.text = [], [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def read(page):
    reader = Reader()
    reader.feed(report(page))
    assert reader.open == []
    return reader


def full(text="plain", *, twin=True):
    picture = Picture(png=mosaic(image(AXIAL)), caption=text)
    safety = (
        SafetyLine(name=text, value=1.0, ceiling=2.0, unit="W/kg", source=text),
        SafetyLine(name="nerves", value=float("nan"), ceiling=0.8, unit="1", source="SAFE"),
    )
    scan = ScanPage(
        name=text,
        title=text,
        pictures=(picture,),
        highlights=((text, text),),
        protocol=((text, text),),
        safety=safety,
        sequence_plot=picture,
        timings=((text, 64.0),),
        quality=((text, text),),
        provenance=((text, text),),
        files=((text, text), ("trap", "javascript:alert(1)"), ("host", "//example.org/x")),
        notes=(text,),
    )
    return ExamPage(
        title=text,
        subject=text,
        system=text,
        device=text,
        date=text,
        is_twin=twin,
        software=text,
        uid=text,
        summary=((text, text),),
        scans=(scan, scan),
        notes=(text,),
    )


def test_what_people_type_stays_text():
    reader = read(full(EVIL))
    assert "script" not in reader.tags
    assert "onerror" not in reader.attributes
    assert reader.text.count(EVIL) >= 20  # it is shown, as typed


def test_nothing_is_fetched_from_anywhere():
    reader = read(full(EVIL))
    outside = [
        address
        for address in reader.addresses
        if not address.startswith(("data:image/png;base64,", "#", "./"))
    ]
    assert outside == []
    text = report(full())
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|url\(|@import", text)


@pytest.mark.parametrize("twin", [True, False])
def test_the_warning_comes_first_and_simulations_say_so(twin):
    text = read(full(twin=twin)).text
    assert text.index("Research use only") < text.index("Scanroom")
    assert "not an approved medical device" in text
    assert ("digital twin" in text) == twin


def test_a_limit_that_is_not_a_number_does_not_pass():
    text = read(full()).text
    assert "exceeds" in text
    assert "not known" in text


def test_findings_of_the_gate_come_through():
    limit = Limit("SAR", 2.0, "W/kg", "IEC 60601-2-33", float, "Lower the flip angle.")
    line = SafetyLine.of(Finding(limit, 2.5))
    assert (line.name, line.value, line.ceiling, line.passes) == ("SAR", 2.5, 2.0, False)


def test_an_exam_without_scans_is_still_a_page(tmp_path):
    page = ExamPage(
        title="empty", subject="", system="", device="", date="", is_twin=True, software="s"
    )
    path = write_report(tmp_path / "report.html", page)
    assert path.read_text("utf-8").endswith("</html>\n")
