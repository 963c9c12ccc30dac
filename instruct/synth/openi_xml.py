"""One synthetic OpenI report as XML, in the shape of the published files."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from instruct.synth.state import ZONES, ChestState

_MIXED = ("Calcified nodule, 4 mm", "2", " in area.")
_LEVELS = ("", "/mild", "/moderate", "/severe")


@dataclass(frozen=True, slots=True)
class Report:
    """What one file says.

    Attributes:
        number: file number, also in ``uId`` and in every image id.
        sections: label (``COMPARISON``, ``INDICATION``, ``FINDINGS``, ``IMPRESSION``) → text, None for none.
        images: image ids in the order of the file.
        state: what the report is about; gives the MeSH terms.
        mixed: the findings end in a sentence with an element inside its text.
    """

    number: int
    sections: dict[str, str | None]
    images: list[str]
    state: ChestState
    mixed: bool = False

    def words(self, label: str) -> list[str]:
        """Words of a section as a reader of the whole text sees them."""
        text = self.sections[label] or ""
        return (f"{text} {''.join(_MIXED)}" if self.mixed and label == "FINDINGS" else text).split()


def report_xml(report: Report) -> bytes:
    """The file of a report, UTF-8, with lines of blanks between the inner elements as in the published files."""
    number = report.number
    terms = _terms(report.state)
    mesh = [f"<major>{escape(term)}</major>" for term in terms]
    if number % 9 < 5:
        mesh += [f"<automatic>{escape(_plain(term))}</automatic>" for term in terms if "/" in term]
    abstract = ["<Abstract>", *(_section(report, label) for label in report.sections), "</Abstract>"]
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        "<eCitation>",
        '   <meta type="rr"/>',
        f'   <uId id="CXR{number}"/>',
        f'   <pmcId id="{number}"/>',
        "   <docSource>CXR</docSource>",
        f'   <IUXRId id="{number}"/>',
        "   <licenseType>open-access</licenseType>",
        "   <licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>",
        "   <ccLicense>byncnd</ccLicense>",
        "   <articleURL/>",
        "   <articleDate>2013-08-01</articleDate>",
        "   <articleType>XR</articleType>",
        "   <publisher>Synthetic</publisher>",
        "   <title>Synthetic chest X-ray collection</title>",
        "   <note>Invented report; no patient.</note>",
        "   <specialty>pulmonary diseases</specialty>",
        "   <subset>CXR</subset>",
        '   <MedlineCitation Owner="Synthetic" Status="invented">',
        _spaced('<Article PubModel="Electronic">', *abstract, "<Language>eng</Language>", "</Article>"),
        "   </MedlineCitation>",
        "   <MeSH>",
        _spaced(*mesh),
        "   </MeSH>",
        *(_image(name, place) for place, name in enumerate(report.images, 1)),
        "</eCitation>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _spaced(*elements: str) -> str:
    return "\n".join(f"   \n      {element}" for element in elements) + "\n"


def _section(report: Report, label: str) -> str:
    text = report.sections[label]
    if text is None:
        return f'<AbstractText Label="{label}"/>'
    body = escape(text)
    if report.mixed and label == "FINDINGS":
        body += f" {_MIXED[0]}<sup>{_MIXED[1]}</sup>{_MIXED[2]}"
    return f'<AbstractText Label="{label}">{body}</AbstractText>'


def _image(name: str, place: int) -> str:
    inner = _spaced(
        f"<figureId>F{place}</figureId>",
        f"<caption>Chest, view {place}. </caption>",
        f'<panel type="single"><url>/synthetic/{name}.jpg</url><imgModality>7</imgModality></panel>',
    )
    return f'   <parentImage id="{name}">\n{inner}   </parentImage>'


def _terms(state: ChestState) -> list[str]:
    """MeSH-style ``Term/modifier`` codes of a state; ``normal`` if there is nothing to code."""
    side, zone = ZONES[state.zone].split(" ")
    terms = []
    if state.heart:
        terms.append(f"Cardiomegaly{_LEVELS[state.heart]}")
    if state.opacity:
        terms.append(f"Opacity/lung/{zone} zone/{side}{_LEVELS[state.opacity]}")
    for level, place in ((state.effusion_right, "right"), (state.effusion_left, "left")):
        if level:
            terms.append(f"Pleural Effusion/{place}{_LEVELS[level]}")
    if state.pneumothorax:
        terms.append(f"Pneumothorax/{('right', 'left')[state.pneumothorax - 1]}")
    chronic = {
        "Medical Device": state.device, "Lung/hyperdistention": state.hyperinflation,
        "Spine/degenerative": state.degenerative, "Granuloma/lung": state.granuloma,
        "Aorta/tortuous": state.aorta, "Fractures, Bone/ribs/healed": state.fracture,
    }  # fmt: skip
    terms.extend(term for term, present in chronic.items() if present)
    return terms or ["normal"]


def _plain(term: str) -> str:
    return " ".join(reversed(term.lower().split("/")))
