"""Which metrics a task is scored with."""

from __future__ import annotations

REPORT = "report"
TEXT = "text"
SEGMENTATION = "segmentation"

KINDS = {
    "Abnormality Detection": "boxes",
    "Abnormality Grounding": "boxes",
    "Close-Ended VQA": "vqa",
    "Difference VQA": "vqa",
    "Findings Generation": REPORT,
    "Findings Generation with Indication": REPORT,
    "Findings Summarization": TEXT,
    "Foreign Object Detection": "boxes",
    "Grounded Captioning": TEXT,
    "Grounded Diagnosis": "choice",
    "Grounded Phrase Extraction": "vqa",
    "Image Classification": "labels",
    "Impression Generation": REPORT,
    "Impression Generation with Indication": REPORT,
    "Named Entity Recognition": "ner",
    "Natural Language Explanation": TEXT,
    "Natural Language Inference": "nli",
    "Open-Ended VQA": "vqa",
    "Phrase Grounding": "boxes",
    "Pneumothorax Segmentation": SEGMENTATION,
    "Progression Findings Generation": REPORT,
    "Progression Impression Generation": REPORT,
    "Report Evaluation": "report_evaluation",
    "Temporal Image Classification": "temporal",
    "Temporal Sentence Similarity": "choice",
    "Text QA": "vqa",
    "View Classification": "choice",
}


def kind_of(task: str) -> str | None:
    """Metric group of a task by its printed name; None for a task this package does not know."""
    return REPORT if not task else KINDS.get(task)
