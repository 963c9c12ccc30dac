from instruct.reasons import EXPLANATIONS, Reason


def test_every_reason_is_written_as_one_word_and_explained():
    assert set(EXPLANATIONS) == set(Reason)
    for reason in Reason:
        assert str(reason) == reason.value == reason.name.lower()
        assert EXPLANATIONS[reason]
