import pytest
from pydantic import ValidationError

from instruct.model import StrictModel


class Cap(StrictModel):
    rows: int = 1


def test_unknown_keys_are_refused_and_values_stay():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Cap.model_validate({"rows": 1, "row": 2})
    cap = Cap(rows=3)
    with pytest.raises(ValidationError, match="frozen"):
        cap.rows = 4
    assert cap.rows == 3
