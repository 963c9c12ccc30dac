import importlib.util
import shutil

import pytest

from instruct import resources
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("folder", ["templates", "task_specs", "recipes"])
def test_the_source_tree_is_found(folder):
    assert resources.shipped(folder) == REPOSITORY / folder


def test_a_package_without_its_files_says_what_is_missing(tmp_path):
    (tmp_path / "instruct").mkdir()
    copy = shutil.copy(resources.__file__, tmp_path / "instruct" / "resources.py")
    spec = importlib.util.spec_from_file_location("bare_resources", copy)
    bare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bare)
    with pytest.raises(FileNotFoundError, match="templates/ is missing from this installation"):
        bare.shipped("templates")
    (tmp_path / "instruct" / "_data" / "templates").mkdir(parents=True)
    assert bare.shipped("templates") == tmp_path / "instruct" / "_data" / "templates"
