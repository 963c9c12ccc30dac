"""The SQL vocabulary of record queries: macros every task spec may use, beside what DuckDB offers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

# The substring rule of the public CheXinstruct processors, which the published progression rows follow.
CHANGE_SUBSTRINGS = (
    "new", "change", "unchanged", "prior", "stable", "interval", "previous", "again", "increased", "improve", "remain",
    "worse", "persistent", "remov", "decrease", "similar", "earlier", "recurrence", "redemonstrate",
)  # fmt: skip

_EARLIER = ("prior", "previous", "remov", "earlier", "recurrence", "redemonstrate")

_CHANGE_WORDS = (
    "new|newly|unchanged|change|changed|changes|prior|stable|interval|previous|previously|again|increased|increasing"
    "|improve|improves|improved|improving|improvement|remain|remains|remained|worse|worsen|worsens|worsened|worsening"
    "|persistent|persistently|removal|removed|decrease|decreases|decreased|decreasing|similar|similarly|earlier"
    "|recurrence|redemonstrate|redemonstrated|redemonstration"
)
# Lasting states that are worded as change.
_NO_CHANGE = (
    r"(degenerative|arthritic|postoperative|postsurgical|surgical|chronic|fibrotic|emphysematous|osteoarthritic"
    r"|spondylotic|atherosclerotic|age[- ]related|cystic|bullous|reactive|scoliotic|hypertrophic)"
    r"( \w+){0,2} changes?\b"
)

# How a sentence begins that tells of something new or seen again, behind the number of an item in a list.
_BEGUN = r"(?i)^((?:\d{1,2}\.\x1f)?)(new|once again|again),? "


def _clean_report() -> str:
    # The number of an item in a list belongs to the item's first sentence: no ". " stands between them while there are
    # only sentences.
    bound = r"regexp_replace(text, '(^|\. )\s*(\d{1,2}\.)\s+', '\1\2' || chr(31), 'g')"
    kept = (
        f"list_filter(string_split({bound}, '. '),"
        f" lambda sentence: NOT regexp_matches(lower(sentence), '{'|'.join(_EARLIER)}'))"
    )
    # A sentence that begins with such a word begins with the next one instead.
    begun = (
        f"list_transform({kept}, lambda sentence: CASE WHEN regexp_matches(sentence, '{_BEGUN}')"
        f" THEN regexp_extract(sentence, '{_BEGUN}', 1) || upper(regexp_extract(sentence, '{_BEGUN}(.)', 3))"
        f" || regexp_replace(sentence, '{_BEGUN}.?', '') ELSE sentence END)"
    )
    clean = f"array_to_string({begun}, '. ')"
    for pattern, instead in (
        (r"(?i)\s?\b(once )?again\b", ""),
        (r"(?i)\bnew\.", "present."),
        (r"(?i)\b(a) new ([aeio])", r"\1n \2"),
        (r"(?i)\bnew ", ""),
    ):
        clean = f"regexp_replace({clean}, '{pattern}', '{instead}', 'g')"
    # What has no letter left, such as a blank of de-identification, says nothing.
    return rf"regexp_extract(trim(replace({clean}, chr(31), ' ')), '(?s)^.*\p{{L}}.*$')"


@dataclass(frozen=True)
class Macro:
    """One macro: how it is called, what it gives, and its SQL body."""

    signature: str
    description: str
    body: str


def macros(seed: int = 0, mentions_change: str = "substring") -> list[Macro]:
    """The macros of a build.

    Args:
        seed: key of ``stable_hash``.
        mentions_change: ``substring`` (the published rule) or ``word``.
    """
    substring = f"regexp_matches(lower(text), '{'|'.join(CHANGE_SUBSTRINGS)}')"
    word = rf"regexp_matches(regexp_replace(lower(text), '\b{_NO_CHANGE}', ' ', 'g'), '\b({_CHANGE_WORDS})\b')"
    return [
        Macro(
            "stable_hash(key, purpose)",
            "Number in [0, 1) that depends on the recipe's seed, the purpose and the key alone: the same on every "
            "machine. Keep the rows with the smallest values to choose some; a larger number only adds rows.",
            # The upper 53 of 128 bits; DuckDB's own halves of a digest go through text, at three times the cost.
            f"(md5_number('{seed}' || chr(31) || purpose || chr(31) || key) >> 75)::DOUBLE / 9007199254740992.0",
        ),
        Macro(
            "mentions_change(text)",
            "Whether a report section speaks of change against an earlier study. The published rule looks for "
            "substrings, so it also fires on 'degenerative changes' and 'against'; the recipe's mentions_change: word "
            "looks for whole words and leaves lasting states out.",
            {"substring": substring, "word": word}[mentions_change],
        ),
        Macro(
            "mentions_time(text)",
            "Whether a text names a clock time or a de-identified blank (a.m., p.m., ___): such impressions tell of "
            "phone calls and are no summary.",
            "contains(text, 'a.m.') OR contains(text, 'p.m.') OR contains(text, '___')",
        ),
        Macro(
            "clean_report(text)",
            "A report section without what one study cannot show: sentences that tell of an earlier study go, 'again' "
            "goes, 'new' becomes 'present' at a sentence's end and goes elsewhere. The published rule also cuts "
            "'against' to 'st', keeps 'New' and 'Again' where a sentence begins with them, and leaves the number of a "
            "sentence in a list ('1. Unchanged.' becomes '1'); this one looks for whole words, large or small, and "
            "takes a sentence with its number. Empty where no letter is left.",
            _clean_report(),
        ),
        Macro(
            "capital(text)",
            "A text with its first letter as a capital, the rest as it is: for answers published in lower case.",
            "upper(left(text, 1)) || substr(text, 2)",
        ),
        Macro(
            "settled_label(label, value)",
            "A CheXpert-type label with the uncertain (-1) and blank settled as in the published table: blank is 0; "
            "uncertain Atelectasis, Edema and Pleural Effusion are 1, uncertain Cardiomegaly and Consolidation 0; the "
            "others stay -1, which is neither.",
            "CASE WHEN value IS NULL THEN 0 WHEN value <> -1 THEN value"
            " WHEN label IN ('Atelectasis', 'Edema', 'Pleural Effusion') THEN 1"
            " WHEN label IN ('Cardiomegaly', 'Consolidation') THEN 0 ELSE -1 END",
        ),
        Macro(
            "region(label, box, mask, size)",
            "A region of the first image, in the form of the record contract: label, box as shares (x1, y1, x2, y2), "
            "mask as COCO's compressed run lengths, and height and width of the image in pixels; each may be null.",
            "struct_pack(image := 0::INTEGER, label := label::VARCHAR, box := box::DOUBLE[], mask := mask::VARCHAR,"
            " size := size::INTEGER[])",
        ),
    ]


def stable_hash(key: str, purpose: str, seed: int = 0) -> float:
    """The SQL macro ``stable_hash`` in Python."""
    digest = hashlib.md5(f"{seed}\x1f{purpose}\x1f{key}".encode(), usedforsecurity=False).digest()
    return (int.from_bytes(digest[8:], "little") >> 11) / 9007199254740992.0
