"""Reads a problem document, which must be well-formed."""

import httpx

from crimson_gateway.problems import CATALOGUE


def problem(response: httpx.Response) -> str:
    """The code of a well-formed problem."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) == {"type", "title", "status", "code", "detail", "hint"}
    assert document["type"] == f"docs/errors.md#{document['code']}"
    assert document["status"] == response.status_code == CATALOGUE[document["code"]].status
    return document["code"]
