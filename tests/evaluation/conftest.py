import json
import os
from pathlib import Path

import pytest

RECORDS = {
    "s1": {
        "model_prediction": "Findings: Lungs are clear. Impression: No acute disease.",
        "section_findings": "The lungs are clear.",
        "section_impression": "No acute disease.",
    },
    "s2": {
        "model_prediction": "Findings: Mild cardiomegaly with clear lungs.",
        "section_findings": "Mild cardiomegaly. No pleural effusion.",
        "section_impression": float("nan"),
    },
    "s3": {
        "model_prediction": float("nan"),
        "section_findings": "Small left effusion is present.",
        "section_impression": "None.",
    },
    "s4": {
        "model_prediction": "Impression: Stable chest.",
        "section_findings": float("nan"),
        "section_impression": "Stable chest.",
    },
}


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(monkeypatch, tmp_path_factory):
    """Only weights that a test names are there, and the network is not touched."""
    monkeypatch.delenv("CXR_INSTRUCT_WEIGHTS", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.getbasetemp() / "empty-hub"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Tiny checkpoints in the released layouts, by the name of the weights."""
    from tests.evaluation.tiny import everything

    return everything(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def rexrank_file(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(RECORDS), encoding="utf-8")
    assert "NaN" in path.read_text()
    return path


@pytest.fixture
def jsonl(tmp_path):
    def write(rows, name="file.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def shared_data():
    folder = Path(os.environ.get("CXR_INSTRUCT_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files here: {folder} is absent (set CXR_INSTRUCT_SHARED_DATA)")
    return folder
