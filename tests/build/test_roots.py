"""Where sources are found on disk."""

from pathlib import Path

import pytest

from instruct import synth
from instruct.build.roots import find_root
from instruct.sources import get_source, source_names


def found(data_root: Path) -> dict[str, Path]:
    roots = {name: find_root(get_source(name), data_root) for name in source_names()}
    return {name: root for name, root in roots.items() if root is not None}


@pytest.mark.parametrize("source", sorted(synth.SOURCES))
def test_the_folder_of_one_source_is_not_taken_for_another(source: str, tmp_path: Path) -> None:
    root = tmp_path / "downloaded"
    synth.write(source, root, studies=20, images=False)
    assert set(found(root)) == {source}
    # As PhysioNet's mirror has it, in a folder for the release.
    (tmp_path / "project").mkdir()
    root.rename(tmp_path / "project" / "1.0.0")
    assert set(found(tmp_path / "project")) <= {source}


@pytest.mark.parametrize(
    ("source", "slug", "inside"),
    [
        ("mimic_cxr_vqa", "mimic-ext-mimic-cxr-vqa", "1.0.0/MIMIC-Ext-MIMIC-CXR-VQA"),
        ("mimic_diff_vqa", "medical-diff-vqa", "1.0.1"),
        ("ms_cxr", "ms-cxr", "1.1.0"),
        ("ms_cxr_t", "ms-cxr-t", "1.0.0"),
        ("radgraph", "radgraph", "1.0.0"),
        ("radnli", "radnli-report-inference", "1.0.0"),
        ("radqa", "radqa", "1.0.0"),
        ("rexval", "rexval-dataset", "1.0.0"),
    ],
)
def test_the_mirror_of_physionet_is_a_data_root(source: str, slug: str, inside: str, tmp_path: Path) -> None:
    folder = tmp_path / "physionet.org" / "files" / slug
    written = tmp_path / "elsewhere" / source
    synth.write(source, written, studies=20, images=False)
    (folder / inside).parent.mkdir(parents=True)
    written.rename(folder / inside)
    for data_root in (tmp_path, tmp_path / "physionet.org" / "files"):
        assert found(data_root) == {source: folder}
    reader = get_source(source)
    assert reader.tables_of(reader.find(folder), reader.options())
