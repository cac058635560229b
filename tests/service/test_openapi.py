"""The service does what its OpenAPI description says, whatever is sent to it: schemathesis makes the requests up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.service_process import ServiceProcess
from helpers.services import picture
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from starlette.routing import Route

from tfvlad.service.app import Service
from tfvlad.service.openapi import document

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

# More of them find more; TFVLAD_EXAMPLES=1000 takes some minutes.
EXAMPLES = int(os.environ.get("TFVLAD_EXAMPLES", "25"))


@pytest.fixture(scope="module")
def running(served_index: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess({"pictures": str(served_index)}) as service:
        yield service


schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@hypothesis_settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_described_and_none_is_a_failure_of_the_service(case: Any, running: ServiceProcess) -> None:
    response = case.call(base_url=running.url, timeout=120)  # the first of each kind compiles
    # 503 is an answer of a service that is busy; nothing here makes it so.
    assert response.status_code < 500, response.text
    excluded = [schemathesis.checks.positive_data_acceptance]
    if case.media_type == "multipart/form-data":  # in a form, anything is text
        excluded.append(schemathesis.checks.negative_data_rejection)
    case.validate_response(response, excluded_checks=excluded)


def test_answers_are_as_described(running: ServiceProcess) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs", reason="comes with schemathesis")
    described = document()

    def check(name: str, answer: Any) -> None:
        jsonschema.validate({**described["components"]["schemas"][name], "components": described["components"]}, answer)

    with httpx.Client(base_url=running.url, timeout=60) as client:
        check("Indexes", client.get("/v1/indexes").json())
        for fields in ({}, {"quick": "true"}, {"k": "3", "verify": "0"}):
            check("Hits", client.post("/v1/search", files={"file": picture(3)}, data=fields).json())
        check("Explanation", client.get("/v1/explain", params={"id": 1, "found": 2}).json())
        check("Error", client.get("/v1/explain").json())


def test_every_address_is_described(served_index: Path) -> None:
    service = Service({"pictures": str(served_index)})
    addresses = {
        (route.path.replace(":int", ""), method.lower())
        for route in service.app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    page = {("/", "get"), ("/static/{name}", "get"), ("/v1/openapi.json", "get")}
    described = {(path, method) for path, methods in document()["paths"].items() for method in methods}
    assert addresses - page == described
    service.close()
