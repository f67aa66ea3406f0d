"""The client's rules: what answers mean, what is sent again and what never, what the observer is told."""

from __future__ import annotations

import codecs
import json
import ssl
import time
from typing import Any

import pytest
import requests
import responses
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, SSLError

from app.douyin.authorization import ClientToken, GetComponentAccessToken
from app.douyin.contract import Call, Token
from app.douyin.development import AuditHosts, GetAuditHosts, GetVersions, ReleaseVersion, RevokeAudit
from app.douyin.domain import DownloadWebviewCheckFileV1
from app.douyin.safety import CensorImageV1
from app.douyin.template import ListDraftsV1
from app.douyin.webhook import WebhookResetSecret
from app.errors import DouyinError, DouzhouError, ErrorKind, NoAnswer

from .conftest import HOSTS, Bench

Mock = responses.RequestsMock
OK = {"err_no": 0, "err_msg": "", "log_id": "L9", "data": {}}
EXPIRED = {"err_no": 28001008, "err_msg": "access_token has expired", "log_id": "L9"}
SECRETS = GetComponentAccessToken(
    component_appid="tt0000000000000001", component_appsecret="appsecret-77", component_ticket="ticket-77"
)


def url(call: Call[Any]) -> str:
    return HOSTS[f"{call.route.host.value}_url"] + call.route.path


def answer(http: Mock, call: Call[Any], **options: Any) -> None:
    http.add(call.route.method, url(call), **options)


def error(bench: Bench, call: Call[Any]) -> DouzhouError:
    with pytest.raises(DouzhouError) as caught:
        bench.douyin.send(call)
    return caught.value


def refusal(bench: Bench, call: Call[Any]) -> DouyinError:
    found = error(bench, call)
    assert isinstance(found, DouyinError)
    return found


def silence(bench: Bench, call: Call[Any]) -> NoAnswer:
    found = error(bench, call)
    assert isinstance(found, NoAnswer)
    return found


# Tokens


@pytest.mark.parametrize("call", [GetVersions(), ReleaseVersion()], ids=["safe", "unsafe"])
def test_an_expired_token_is_replaced_and_the_call_sent_once_more(call: Call[Any], bench: Bench, http: Mock) -> None:
    answer(http, call, json=EXPIRED)
    answer(http, call, json=OK)
    bench.douyin.send(call)
    assert bench.keeper.refusals == [(Token.AUTHORIZER, "authorizer-1")]
    assert [sent.request.headers["access-token"] for sent in http.calls] == ["authorizer-1", "authorizer-2"]


def test_a_token_refused_twice_is_given_up(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json=EXPIRED)
    assert refusal(bench, ReleaseVersion()).kind is ErrorKind.TOKEN
    assert len(http.calls) == 2


def test_a_call_without_a_token_asks_for_none_and_refuses_none(bench: Bench, http: Mock) -> None:
    answer(http, SECRETS, json={"errno": 40009, "message": "x"})
    refusal(bench, SECRETS)
    assert (bench.keeper.refusals, len(http.calls)) == ([], 1)


def test_the_older_generations_token_is_replaced_in_the_query(bench: Bench, http: Mock) -> None:
    answer(http, ListDraftsV1(), json={"errno": 40009, "message": "expired"})
    answer(http, ListDraftsV1(), json={"errno": 0, "message": "", "draft_list": []})
    assert bench.douyin.send(ListDraftsV1()).draft_list == ()
    assert "component_access_token=component_v1-2" in (http.calls[1].request.url or "")


def test_the_oldest_image_check_reports_a_bad_token_by_its_own_number(bench: Bench, http: Mock) -> None:
    call = CensorImageV1(app_id="tt1", image="u")
    answer(http, call, json={"error": 2, "message": "bad token"})
    answer(http, call, json={"error": 0, "predicts": []})
    assert bench.douyin.send(call).hits == ()
    assert json.loads(http.calls[1].request.body or "")["access_token"] == "authorizer_v1-2"


@pytest.mark.parametrize("errno", ["40001", 40001, "40003"])
def test_wrong_settings_of_our_own_app_concern_the_platform(errno: Any, bench: Bench, http: Mock) -> None:
    answer(http, SECRETS, json={"errno": errno, "message": "bad parameter"})
    found = refusal(bench, SECRETS)
    assert (found.kind, found.err_no) == (ErrorKind.PLATFORM, int(errno))


def test_the_client_token_reports_its_error_inside_the_data(bench: Bench, http: Mock) -> None:
    call = ClientToken(client_key="tt1", client_secret="x")
    answer(http, call, json={"data": {"error_code": 10002, "description": "no"}, "message": "error"})
    assert refusal(bench, call).err_no == 10002


def test_a_check_file_request_that_fails_answers_json(bench: Bench, http: Mock) -> None:
    answer(http, DownloadWebviewCheckFileV1(), json={"errno": 40003, "message": "no such app"})
    assert refusal(bench, DownloadWebviewCheckFileV1()).kind is ErrorKind.PLATFORM


# Refusals and answers outside the contract


def test_a_refusal_carries_code_advice_and_log_id(bench: Bench, http: Mock) -> None:
    answer(http, RevokeAudit(), json={"err_no": 11602, "err_msg": "processing", "log_id": "L7"})
    found = refusal(bench, RevokeAudit())
    assert (found.err_no, found.kind, found.log_id, found.retry_after) == (11602, ErrorKind.STATE, "L7", None)
    assert found.advice
    assert "processing" in found.message


def test_the_log_id_may_stand_in_the_header_only(bench: Bench, http: Mock) -> None:
    answer(http, RevokeAudit(), json={"err_no": 11602}, headers={"x-tt-logid": "H1"})
    assert refusal(bench, RevokeAudit()).log_id == "H1"


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("0", 1), ("99999", 600), ("soon", 10), (None, 10)])
def test_http_429_is_a_rate_error_with_its_wait(header: str | None, seconds: float, bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), status=429, headers={"Retry-After": header} if header else {})
    found = refusal(bench, ReleaseVersion())
    assert (found.kind, found.retry_after) == (ErrorKind.RATE, seconds)


UNREADABLE: dict[str, dict[str, Any]] = {
    "500": {"status": 500, "json": OK},
    "503 html": {"status": 503, "body": "<html>"},
    "html": {"body": "<html>busy</html>", "content_type": "text/html"},
    "half": {"body": '{"err_no": 0, "da'},
    "empty": {"body": ""},
    "list": {"body": "[]"},
    "number": {"body": "1"},
    "not utf-8": {"body": b'{"err_no": 0, "err_msg": "\xff"}'},
    "lone surrogate": {"body": '{"err_no": 0, "data": {"x": "\\ud800"}}'},
    "nan": {"body": '{"err_no": NaN}'},
    "deep": {"body": '{"a":' * 5_000 + "1" + "}" * 5_000},
    "deep but short": {"body": '{"err_no":0,"data":' + "[" * 100 + "]" * 100 + "}"},
    "redirect": {"status": 302, "headers": {"Location": "https://evil.example.com/"}},
    "no content": {"status": 204},
    "too big": {"body": b'{"err_no":0,"x":"' + b"a" * (4 * 2**20) + b'"}'},
}


@pytest.mark.parametrize("options", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_answer_to_an_unsafe_call_is_no_answer_and_never_sent_again(
    options: dict[str, Any], bench: Bench, http: Mock
) -> None:
    answer(http, ReleaseVersion(), **options)
    assert silence(bench, ReleaseVersion()).sent
    assert len(http.calls) == 1


@pytest.mark.parametrize("options", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_answer_to_a_read_is_asked_for_three_times(
    options: dict[str, Any], bench: Bench, http: Mock
) -> None:
    answer(http, GetVersions(), **options)
    assert silence(bench, GetVersions()).sent
    assert len(http.calls) == 3


def test_a_read_recovers_when_the_second_answer_is_good(bench: Bench, http: Mock) -> None:
    answer(http, GetVersions(), status=502)
    answer(http, GetVersions(), json=OK)
    assert bench.douyin.send(GetVersions()).audit is None


MISFITS: dict[str, Any] = {
    "no code": {"data": {"secret": "s"}},
    "padded code": {"err_no": "00", "data": {"secret": "s"}},
    "empty code": {"err_no": "", "data": {"secret": "s"}},
    "code in words": {"err_no": "success", "data": {"secret": "s"}},
    "minus nothing": {"err_no": "-0", "data": {"secret": "s"}},
    "boolean code": {"err_no": False, "data": {"secret": "s"}},
    "null code": {"err_no": None, "data": {"secret": "s"}},
    "huge code": {"err_no": 10**40, "data": {"secret": "s"}},
    "float code": {"err_no": 0.5, "data": {"secret": "s"}},
    "no data": {"err_no": 0},
    "list data": {"err_no": 0, "data": []},
    "wrong field": {"err_no": 0, "data": {"secret": 5, "host_names": "douyin"}},
    "wrong item": {"err_no": 0, "data": {"secret": "line\nbreak", "host_names": [1]}},
}


@pytest.mark.parametrize("body", MISFITS.values(), ids=MISFITS)
def test_a_read_whose_answer_does_not_fit_is_an_answer_error(body: Any, bench: Bench, http: Mock) -> None:
    answer(http, GetAuditHosts(), json=body)
    found = refusal(bench, GetAuditHosts())
    assert (found.kind, found.retry_after) == (ErrorKind.ANSWER, 30.0)


@pytest.mark.parametrize("body", MISFITS.values(), ids=MISFITS)
def test_a_change_whose_answer_does_not_fit_may_have_happened(body: Any, bench: Bench, http: Mock) -> None:
    answer(http, WebhookResetSecret(), json=body)
    assert silence(bench, WebhookResetSecret()).sent
    assert len(http.calls) == 1


def test_null_data_is_an_empty_reply_where_nothing_in_it_is_required(bench: Bench, http: Mock) -> None:
    answer(http, GetAuditHosts(), json={"err_no": 0, "data": None})
    assert bench.douyin.send(GetAuditHosts()) == AuditHosts()


def test_null_data_without_a_secret_is_no_answer_to_the_call_for_one(bench: Bench, http: Mock) -> None:
    answer(http, WebhookResetSecret(), json={"err_no": 0, "data": None})
    assert silence(bench, WebhookResetSecret()).sent


@pytest.mark.parametrize("code", [0, "0"])
def test_nothing_but_a_nought_is_success(code: Any, bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json={"err_no": code})
    bench.douyin.send(ReleaseVersion())
    assert bench.records[-1].outcome == "ok"


def test_a_code_in_text_is_its_number(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json={"err_no": "11402"})
    assert refusal(bench, ReleaseVersion()).err_no == 11402


def test_a_byte_order_mark_is_no_fault(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), body=codecs.BOM_UTF8 + b'{"err_no": 0}')
    bench.douyin.send(ReleaseVersion())
    answer(http, DownloadWebviewCheckFileV1(), body=codecs.BOM_UTF8 + b'{"errno": 40010}')
    assert refusal(bench, DownloadWebviewCheckFileV1()).err_no == 40010


def test_success_with_an_error_status_is_not_believed(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), status=403, json=OK)
    assert silence(bench, ReleaseVersion()).sent


def test_a_refusal_with_an_error_status_is(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), status=401, json={"err_no": 11402})
    assert refusal(bench, ReleaseVersion()).err_no == 11402


# The network


def _lost(inner: Exception) -> requests.ConnectionError:
    pool: Any = None
    return requests.ConnectionError(MaxRetryError(pool, "/path?component_ticket=ticket-77", inner))


NOT_SENT = {
    "refused": _lost(NewConnectionError(None, "refused")),  # type: ignore[arg-type]
    "bad certificate": requests.exceptions.SSLError(_lost(SSLError(ssl.SSLCertVerificationError("bad")))),
    "connect time-out": requests.ConnectTimeout(ConnectTimeoutError("slow")),
}
PERHAPS_SENT = {
    "reset": requests.ConnectionError("reset"),
    "broken encryption": requests.exceptions.SSLError(_lost(SSLError(ssl.SSLError("eof")))),
    "read time-out": requests.ReadTimeout("slow"),
    "chunk": requests.exceptions.ChunkedEncodingError("half"),
    "bad gzip": requests.exceptions.ContentDecodingError("gzip"),
}


@pytest.mark.parametrize("failure", NOT_SENT.values(), ids=NOT_SENT)
def test_without_a_connection_nothing_was_sent(failure: Exception, bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), body=failure)
    assert not silence(bench, ReleaseVersion()).sent


@pytest.mark.parametrize("failure", PERHAPS_SENT.values(), ids=PERHAPS_SENT)
def test_after_a_connection_it_may_have_been_sent(failure: Exception, bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), body=failure)
    assert silence(bench, ReleaseVersion()).sent
    assert len(http.calls) == 1


def test_a_token_that_cannot_stand_in_a_header_is_not_sent(bench: Bench, http: Mock) -> None:
    bench.keeper.pattern = "line\nbreak {} {}"
    assert not silence(bench, ReleaseVersion()).sent
    assert len(http.calls) == 0


# Pace and observer


class SlowPace:
    """Makes every request wait this long."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.taken, self.slowed = seconds, 0, 0

    def take(self) -> None:
        self.taken += 1
        time.sleep(self.seconds)

    def slower(self) -> None:
        self.slowed += 1


def test_every_request_takes_from_the_pace(http: Mock) -> None:
    bench = Bench(pace=(pace := SlowPace(0.0)))
    answer(http, GetVersions(), status=500)
    silence(bench, GetVersions())
    assert pace.taken == 3


def test_a_request_that_waited_too_long_is_not_sent(http: Mock) -> None:
    bench = Bench(pace=SlowPace(0.05), timeout=0.02)
    assert not silence(bench, ReleaseVersion()).sent
    assert len(http.calls) == 0


def test_the_observer_sees_each_request_with_its_outcome(bench: Bench, http: Mock) -> None:
    answer(http, GetVersions(), status=500)
    answer(http, GetVersions(), json={"err_no": 28001005, "err_msg": "busy", "log_id": "L1"})
    refusal(bench, GetVersions())
    answer(http, ReleaseVersion(), json=OK)
    bench.douyin.send(ReleaseVersion())
    seen = [(record.name, record.outcome, record.http_status, record.err_no) for record in bench.records]
    assert seen == [
        ("get_versions", "no_answer", 500, None),
        ("get_versions", "error", 200, 28001005),
        ("release_version", "ok", 200, 0),
    ]
    last = bench.records[-1]
    assert (last.host, last.path, last.log_id) == ("open", ReleaseVersion.route.path, "L9")
    assert (last.appid, last.component_appid) == ("tt1111111111111111", "tt0000000000000001")
    assert last.at.utcoffset() is not None


def test_the_observers_answer_is_short(bench: Bench, http: Mock) -> None:
    answer(http, GetVersions(), json={**OK, "note": "x" * 9_000})
    bench.douyin.send(GetVersions())
    assert len(bench.records[0].answer) == 2_000


@pytest.mark.parametrize(("err_no", "times"), [(28003018, 1), (28001052, 1), (11301, 0), (28001005, 0)])
def test_too_fast_in_general_slows_the_pace_and_nothing_else_does(err_no: int, times: int, http: Mock) -> None:
    pace = SlowPace(0)
    bench = Bench(pace=pace)
    answer(http, ReleaseVersion(), json={"err_no": err_no})
    refusal(bench, ReleaseVersion())
    assert pace.slowed == times


# The older form of a refusal

OLDER = {"data": {"error_code": 2190008, "description": "access_token过期"}, "extra": {"logid": "L7"}}


@pytest.mark.parametrize("call", [ReleaseVersion(), GetVersions(), SECRETS, CensorImageV1(app_id="tt1")], ids=repr)
def test_the_older_form_of_a_code_is_read_in_every_envelope(call: Call[Any], bench: Bench, http: Mock) -> None:
    answer(http, call, json={**OLDER, "data": {"error_code": "2100009", "description": "无权使用"}})
    found = refusal(bench, call)
    assert (found.err_no, found.kind, found.log_id) == (2100009, ErrorKind.PERSON, "L7")
    assert "无权使用" in found.message


def test_the_older_form_says_in_its_extra_what_the_data_leaves_out(bench: Bench, http: Mock) -> None:
    extra = {"error_code": 4, "sub_error_code": 2190004, "sub_description": "能力未申请"}
    answer(http, ReleaseVersion(), json={"data": None, "extra": extra})
    found = refusal(bench, ReleaseVersion())
    assert (found.err_no, "能力未申请" in found.message) == (4, True)
    answer(http, RevokeAudit(), json={"extra": {**extra, "error_code": 987654321}})
    assert refusal(bench, RevokeAudit()).kind is ErrorKind.CAPABILITY


def test_the_older_form_of_success_is_success(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json={"data": {"error_code": 0}, "extra": {"error_code": 0}})
    bench.douyin.send(ReleaseVersion())
    assert bench.records[-1].outcome == "ok"


@pytest.mark.parametrize("code", [None, "", "none", 1.5, True, [], {}])
def test_an_older_form_without_a_number_is_no_answer(code: Any, bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json={"data": {"error_code": code}})
    assert silence(bench, ReleaseVersion()).sent


@pytest.mark.parametrize("code", ["", "none", 1.5, [], {}])
def test_an_unreadable_older_form_beside_the_envelopes_own_code_is_nothing(code: Any, bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json={"err_no": 0, "data": {"error_code": code}, "extra": {"error_code": code}})
    bench.douyin.send(ReleaseVersion())
    assert bench.records[-1].outcome == "ok"


def test_a_failure_in_either_form_is_one(bench: Bench, http: Mock) -> None:
    answer(http, ReleaseVersion(), json={"err_no": 0, "data": {"error_code": 2190002}})
    assert refusal(bench, ReleaseVersion()).kind is ErrorKind.TOKEN
