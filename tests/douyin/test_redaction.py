"""Nothing secret leaves by an exception, a log line or the observer."""

from __future__ import annotations

import json
import logging
import traceback
from typing import Any

import pytest
import requests
import responses
from hypothesis import given
from hypothesis import strategies as st

from app import redaction
from app.douyin.authorization import GetAuthorizerAccessTokenV1, GetComponentAccessToken, GrantType
from app.douyin.contract import Call
from app.douyin.settle import CompanyType, QualificationType, SettleApply
from app.errors import DouzhouError

from .conftest import HOSTS, Bench

LOGIN = GetComponentAccessToken(
    component_appid="tt0000000000000001", component_appsecret="appsecret-77", component_ticket="ticket-77"
)
REFRESH = GetAuthorizerAccessTokenV1(grant_type=GrantType.REFRESH, authorizer_refresh_token="refresh-77")
SETTLE = SettleApply(
    mobile="13812345678",
    qualification_type=QualificationType.ENTERPRISE,
    company_name="x",
    credit_code="9",
    credit_end_date="0",
    company_type=CompanyType.LIMITED,
    legal_person_name="y",
    registered_address="z",
    registered_capital=1,
    credit_image_path="p",
    category_code="1",
    business_person_name="n",
    business_id_card="110101199001010000",
    business_mobile="13887654321",
)
SECRETS = ("appsecret-77", "ticket-77", "refresh-77", "component_v1-1", "clt.secret77")
PERSONAL = ("13812345678", "13887654321", "110101199001010000")
FAILURES: dict[str, Any] = {
    "reset": {"body": requests.ConnectionError("https://h/?component_ticket=ticket-77&x=refresh-77")},
    "500": {"status": 500, "body": "ticket=ticket-77 authorizer_refresh_token=refresh-77"},
    "echo": {"json": {"errno": 40001, "message": "bad component_ticket=ticket-77 clt.secret77"}},
    "misfit": {"json": {"component_access_token": ["clt.secret77"], "authorizer_access_token": 7}},
    "half": {"body": '{"component_access_token": "clt.secret77'},
}


def _url(call: Call[Any]) -> str:
    return HOSTS[f"{call.route.host.value}_url"] + call.route.path


def _linked(error: BaseException | None) -> str:
    """Everything an error report could print, also what `from None` merely hides."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(error.args)
        error = error.__cause__ or error.__context__
    return text


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("call", [LOGIN, REFRESH], ids=["login", "refresh"])
def test_no_secret_is_in_an_error_its_chain_or_its_record(
    call: Call[Any], failure: dict[str, Any], bench: Bench
) -> None:
    with responses.RequestsMock() as http:
        http.get(_url(call), **failure)
        with pytest.raises(DouzhouError) as caught:
            bench.douyin.send(call)
    shown = _linked(caught.value) + repr(bench.records)
    assert not [secret for secret in SECRETS if secret in shown]


def test_no_secret_of_a_good_answer_is_in_the_record(bench: Bench, http: responses.RequestsMock) -> None:
    http.get(_url(LOGIN), json={"component_access_token": "clt.secret77", "expires_in": 7200})
    bench.douyin.send(LOGIN)
    assert not [secret for secret in SECRETS if secret in repr(bench.records)]
    assert json.loads(bench.records[0].answer)["expires_in"] == 7200
    assert bench.records[0].request["component_appid"] == "tt0000000000000001"


def test_no_person_is_in_the_record(bench: Bench, http: responses.RequestsMock) -> None:
    http.post(_url(SETTLE), json={"errno": 0, "message": "", "data": {"apply_id": "1"}})
    bench.douyin.send(SETTLE)
    assert not [item for item in PERSONAL if item in repr(bench.records) + repr(SETTLE)]


@pytest.mark.parametrize("logger", ["connectionpool", "util.retry", "connection"])
def test_the_http_library_logs_no_secret_even_at_debug(logger: str, caplog: pytest.LogCaptureFixture) -> None:
    Bench().client.close()
    with caplog.at_level(logging.DEBUG, logger="urllib3"):
        logging.getLogger(f"urllib3.{logger}").debug(
            "%s GET /x?component_appsecret=%s&component_ticket=%s", "h", "appsecret-77", "ticket-77"
        )
    assert "GET /x?component_appsecret=***" in caplog.text
    assert not [secret for secret in SECRETS if secret in caplog.text]


def test_a_real_connection_logs_no_secret_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(open_url="http://127.0.0.1:9", microapp_url="http://127.0.0.1:9", toutiao_url="http://127.0.0.1:9")
    with caplog.at_level(logging.DEBUG, logger="urllib3"), pytest.raises(DouzhouError) as caught:
        bench.douyin.send(REFRESH)
    assert "Starting new HTTP connection" in caplog.text
    shown = caplog.text + _linked(caught.value)
    assert not [secret for secret in SECRETS if secret in shown]


PIECES = st.sampled_from(
    ["Bearer abcdefgh", "set-cookie: a=b", '"ticket":"x"', "token=1", "code：7", "clt.secret77", "dz_" + "a" * 20]
    + ["isvact-abcdef", "isvrft.abcdef", "whs-abcdef", "scrypt:1$a$0f", "pbkdf2$a$0f", "DETAIL：(x)", "13812345678"]
    + ["+86 13812345678", "Duplicate entry 'x' for key ", "商户", "1.0.0", " ", "\n", "ſ", "İ"]
)


@given(pieces=st.lists(PIECES | st.text(max_size=5), max_size=5))
def test_what_is_passed_over_has_nothing_to_mask(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert redaction.redact(text) == redaction._masked(text)
