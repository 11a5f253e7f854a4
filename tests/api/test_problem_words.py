"""Refusals of a request's shape are sentences for people, whatever the decoder calls things."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import httpx
import msgspec
import pytest
from msgspec import Meta, Struct, json

from api.problems import in_words


class Order(Struct):
    """One field of each kind."""

    name: Annotated[str, Meta(min_length=2, max_length=4)] | None = None
    code: Annotated[str, Meta(pattern="^a+$")] = "a"
    count: Annotated[int, Meta(ge=1, le=5)] = 1
    weight: Annotated[float, Meta(gt=0)] = 1.0
    rows: Annotated[list[int], Meta(min_length=1, max_length=2)] = msgspec.field(default_factory=lambda: [1])
    at: datetime | None = None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"name":"a"}', "This should have at least 2 characters."),
        ('{"name":"aaaaa"}', "This should have at most 4 characters."),
        ('{"code":"b"}', "This is not in the form that is taken here; the documentation shows it."),
        ('{"count":0}', "This should be at least 1."),
        ('{"count":9}', "This should be at most 5."),
        ('{"count":"x"}', "This should be a whole number, and is text."),
        ('{"weight":0}', "This should be more than 0.0."),
        ('{"rows":[1,2,3]}', "This should have at most 2 items."),
        ('{"name":3}', "This should be text or null, and is a whole number."),
        ('{"at":"yesterday"}', "This should be a time such as 2026-01-31T12:00:00Z."),
    ],
)
def test_what_the_decoder_says_is_said_in_words(body: str, sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        json.decode(body, type=Order)

    assert in_words(str(refused.value).split(" - at ")[0]) == sentence


def test_no_refusal_over_http_speaks_in_types(client: httpx.Client) -> None:
    for body in ({"url": 7}, {"url": ""}, {"url": "x" * 3000}):
        for path in ("/v1/demo/analyze/url",):
            answer = client.post(path, json=body)
            assert answer.status_code == 422
            assert "`" not in answer.text
            assert "regex" not in answer.text
