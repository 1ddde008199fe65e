import json

import pytest

from shoal.cli import output


@pytest.mark.parametrize(("number", "spelled"), [(float("inf"), "Infinity"), (float("-inf"), "-Infinity"), (float("nan"), "NaN")])
def test_a_number_that_json_lacks_is_spelled(number, spelled):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    text = output.json_text([{"id": 1, "score": number, "payload": {"n": [1.5, (number,)]}}])
    assert json.loads(text, parse_constant=refuse) == [{"id": 1, "score": spelled, "payload": {"n": [1.5, [spelled]]}}]
    assert str(float(spelled)) == str(number)
