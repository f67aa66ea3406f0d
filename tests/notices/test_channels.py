"""Ways out of the console: what each service receives, over real connections, and where nothing may be sent at all."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from email import message_from_string, policy
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from app.errors import Refused
from app.models import ChannelKind
from app.notices import channels, egress
from app.notices.channels import Address, Message, address_of, hint_of, send, signature, text_of
from app.notices.egress import Undelivered, check_address, post
from tests.notices.receivers import Mailbox, Receiver, certificate, resolve, serving

NAMES = ("open.feishu.cn", "open.larksuite.com", "oapi.dingtalk.com", "qyapi.weixin.qq.com", "hooks.example.com")
TOKEN = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FEISHU = f"https://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}"
DINGTALK = f"https://oapi.dingtalk.com/robot/send?access_token={TOKEN}"
WECOM = f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={TOKEN}"
MESSAGE = Message(
    id="17",
    kind="audit_rejected",
    level="bad",
    title="「云溪花坊」的版本 1.0.0 审核被驳回",
    body="首页有空白区域",
    url="https://console.example.com/notices/to/mini_program/5",
    at="2026-03-01T00:00:00+00:00",
)
TEXT = f"{MESSAGE.title}\n{MESSAGE.body}\n{MESSAGE.url}"


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """One TLS server that stands for all of the services, under their own names."""
    root, context = certificate(tmp_path, *NAMES)
    answering = Receiver(answer=b'{"errcode":0,"errmsg":"ok","code":0,"msg":"success"}')
    with serving(answering, context) as receiver:
        monkeypatch.setattr(egress, "CA_FILE", str(root))
        resolve(monkeypatch, {name: [("127.0.0.1", receiver.port)] for name in NAMES})
        yield receiver


# What the services receive


def test_feishu_receives_a_text_as_its_bots_document_it(app: Flask, services: Receiver) -> None:
    send(app, ChannelKind.FEISHU, Address(FEISHU), MESSAGE)
    (got,) = services.got
    assert (got.host, got.path) == ("open.feishu.cn", f"/open-apis/bot/v2/hook/{TOKEN}")
    assert got.headers["Content-Type"].startswith("application/json")
    assert got.json == {"msg_type": "text", "content": {"text": TEXT}}


def test_feishu_receives_the_documented_signature(app: Flask, services: Receiver) -> None:
    before = int(time.time())
    send(app, ChannelKind.FEISHU, Address(FEISHU, "demoSecret"), MESSAGE)
    body = services.got[0].json
    assert before <= int(body["timestamp"]) <= time.time()
    key = f"{body['timestamp']}\ndemoSecret".encode()
    assert body["sign"] == base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


def test_a_name_cannot_call_a_whole_group_in_feishu(app: Flask, services: Receiver) -> None:
    evil = Message("1", "x", "bad", '<at user_id="all">所有人</at>', "", "", "")
    send(app, ChannelKind.FEISHU, Address(FEISHU), evil)
    assert "<" not in services.got[0].json["content"]["text"]


def test_larks_own_host_is_used_for_lark(app: Flask, services: Receiver) -> None:
    send(app, ChannelKind.FEISHU, Address(FEISHU.replace("open.feishu.cn", "open.larksuite.com")), MESSAGE)
    assert services.got[0].host == "open.larksuite.com"


def test_dingtalk_receives_a_text_and_the_signature_in_the_address(app: Flask, services: Receiver) -> None:
    before = int(time.time())
    send(app, ChannelKind.DINGTALK, Address(DINGTALK, "SECabc123"), MESSAGE)
    (got,) = services.got
    query = {name: values[0] for name, values in parse_qs(urlsplit(got.path).query).items()}
    assert got.host == "oapi.dingtalk.com" and got.path.startswith("/robot/send?")
    assert query["access_token"] == TOKEN
    digest = hmac.new(b"SECabc123", f"{query['timestamp']}\nSECabc123".encode(), hashlib.sha256).digest()
    assert query["sign"] == base64.b64encode(digest).decode()
    assert before <= int(query["timestamp"]) / 1000 <= time.time()
    assert got.json == {"msgtype": "text", "text": {"content": TEXT}, "at": {"isAtAll": False}}


def test_dingtalk_without_a_key_is_not_signed(app: Flask, services: Receiver) -> None:
    send(app, ChannelKind.DINGTALK, Address(DINGTALK), MESSAGE)
    assert services.got[0].path == f"/robot/send?access_token={TOKEN}"


def test_wecom_receives_a_text_of_at_most_2048_bytes(app: Flask, services: Receiver) -> None:
    long = Message("1", "x", "bad", "标题", "长" * 3000, "https://c.example.com/1", "")
    send(app, ChannelKind.WECOM, Address(WECOM), long)
    (got,) = services.got
    assert (got.host, got.path) == ("qyapi.weixin.qq.com", f"/cgi-bin/webhook/send?key={TOKEN}")
    text = got.json["text"]["content"]
    assert got.json["msgtype"] == "text" and len(text.encode()) <= 2048
    assert text.startswith("标题\n长") and text.endswith("…\nhttps://c.example.com/1")


@pytest.mark.parametrize(
    ("kind", "address", "answer"),
    [
        (ChannelKind.FEISHU, FEISHU, b'{"code":19021,"msg":"sign match fail or timestamp is not within one hour"}'),
        (ChannelKind.DINGTALK, DINGTALK, '{"errcode":310000,"errmsg":"关键词不匹配"}'.encode()),
        (ChannelKind.WECOM, WECOM, b'{"errcode":93000,"errmsg":"invalid webhook url"}'),
    ],
)
def test_a_refusal_that_comes_as_http_200_is_a_failure_in_the_services_own_words(
    app: Flask, services: Receiver, kind: ChannelKind, address: str, answer: bytes
) -> None:
    services.answer = answer
    with pytest.raises(Undelivered) as problem:
        send(app, kind, Address(address), MESSAGE)
    code = str(int("".join(filter(str.isdigit, answer.decode().split(",")[0]))))
    assert code in str(problem.value) and "对方拒绝" in str(problem.value)
    assert TOKEN not in str(problem.value) and not problem.value.lasting


def test_an_answer_that_is_no_json_is_a_failure(app: Flask, services: Receiver) -> None:
    services.status, services.answer = 502, b"<html>"
    with pytest.raises(Undelivered, match="HTTP 502"):
        send(app, ChannelKind.WECOM, Address(WECOM), MESSAGE)


def test_a_webhook_receives_json_with_a_signature_that_can_be_checked(app: Flask, services: Receiver) -> None:
    send(app, ChannelKind.WEBHOOK, Address("https://hooks.example.com/in?a=1", "whs_key"), MESSAGE)
    (got,) = services.got
    assert (got.host, got.path) == ("hooks.example.com", "/in?a=1")
    assert got.json["title"] == MESSAGE.title and got.json["id"] == "17"
    assert got.headers["X-Douzhou-Delivery"] == "17"
    moment, _, digest = got.headers["X-Douzhou-Signature"].partition(",")
    expected = hmac.new(b"whs_key", moment[2:].encode() + b"." + got.body, hashlib.sha256).hexdigest()
    assert digest == f"v1={expected}"
    assert signature("whs_key", int(moment[2:]), got.body + b" ") != got.headers["X-Douzhou-Signature"]


@pytest.mark.parametrize("status", [201, 204, 299])
def test_any_success_of_a_webhook_counts(app: Flask, receiver: Receiver, status: int) -> None:
    receiver.status, receiver.answer = status, b""
    assert send(app, ChannelKind.WEBHOOK, Address(f"http://127.0.0.1:{receiver.port}/"), MESSAGE) == f"HTTP {status}"


def test_a_webhooks_refusal_is_told_without_secrets(app: Flask, receiver: Receiver) -> None:
    receiver.status, receiver.answer = 403, b"token=abcdefghijklmnop is wrong"
    with pytest.raises(Undelivered) as problem:
        send(app, ChannelKind.WEBHOOK, Address(f"http://127.0.0.1:{receiver.port}/"), MESSAGE)
    assert "HTTP 403" in str(problem.value) and "abcdefghijklmnop" not in str(problem.value)


def test_mail_arrives_with_subject_text_and_link(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox()
    monkeypatch.setitem(app.config, "SMTP_URL", f"smtp://127.0.0.1:{mailbox.port}?from=notice@example.com")
    send(app, ChannelKind.MAIL, Address("lin@example.com"), MESSAGE)
    mailbox.close()
    ((sender, receivers, text),) = mailbox.letters
    assert "notice@example.com" in sender and [line.upper() for line in receivers] == ["RCPT TO:<LIN@EXAMPLE.COM>"]
    letter = message_from_string(text, policy=policy.default)
    assert letter["Subject"] == f"[抖舟] {MESSAGE.title}"
    body = letter.get_body(("plain",))
    assert body is not None and MESSAGE.body in body.get_content() and MESSAGE.url in body.get_content()


def test_a_title_with_line_breaks_adds_no_header_to_a_mail(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox()
    monkeypatch.setitem(app.config, "SMTP_URL", f"smtp://127.0.0.1:{mailbox.port}?from=notice@example.com")
    evil = Message("1", "x", "bad", "标题\r\nBcc: all@example.com", "内容", "", "")
    send(app, ChannelKind.MAIL, Address("lin@example.com"), evil)
    mailbox.close()
    ((_, receivers, text),) = mailbox.letters
    assert len(receivers) == 1 and message_from_string(text, policy=policy.default)["Bcc"] is None


def test_what_the_mail_server_says_no_to_is_told(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = Mailbox(refusal="mailbox unavailable")
    monkeypatch.setitem(app.config, "SMTP_URL", f"smtp://127.0.0.1:{mailbox.port}?from=notice@example.com")
    with pytest.raises(Undelivered, match="mailbox unavailable"):
        send(app, ChannelKind.MAIL, Address("lin@example.com"), MESSAGE)
    mailbox.close()


def test_a_mail_server_that_is_away_is_told(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "SMTP_URL", "smtp://127.0.0.1:9?from=notice@example.com")
    with pytest.raises(Undelivered, match="邮件没有发出"):
        send(app, ChannelKind.MAIL, Address("lin@example.com"), MESSAGE)


@pytest.mark.parametrize(
    ("url", "mode", "secure", "port"),
    [
        ("smtps://u%40example.com:p%2Fw@smtp.example.com:465", "ssl", True, 465),
        ("smtp://u%40example.com:p%2Fw@smtp.example.com:587", "starttls", True, 587),
        ("smtp://127.0.0.1:25?from=a@example.com", "insecure", False, 25),
    ],
)
def test_the_mail_servers_setting_is_read_as_documented(url: str, mode: str, secure: bool, port: int) -> None:
    options = channels.mail_options(url)
    assert (options["secure_mode"], options["secure"], options["port"]) == (mode, secure, port)
    if "u%40" in url:
        assert (options["user"], options["password"]) == ("u@example.com", "p/w")
        assert options["from_addr"] == "u@example.com"


# What may be entered


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        (ChannelKind.FEISHU, f"https://open.feishu.cn.evil.example/open-apis/bot/v2/hook/{TOKEN}"),
        (ChannelKind.FEISHU, f"http://open.feishu.cn/open-apis/bot/v2/hook/{TOKEN}"),
        (ChannelKind.FEISHU, f"https://open.feishu.cn:8443/open-apis/bot/v2/hook/{TOKEN}"),
        (ChannelKind.FEISHU, f"https://open.feishu.cn@127.0.0.1/open-apis/bot/v2/hook/{TOKEN}"),
        (ChannelKind.FEISHU, "https://open.feishu.cn/open-apis/bot/v2/hook/../../x"),
        (ChannelKind.DINGTALK, f"https://oapi.dingtalk.co/robot/send?access_token={TOKEN}"),
        (ChannelKind.DINGTALK, "https://oapi.dingtalk.com/robot/send?access_token=a%26b%3Dc000000"),
        (ChannelKind.DINGTALK, "https://oapi.dingtalk.com/robot/send"),
        (ChannelKind.WECOM, f"https://weixin.qq.com/cgi-bin/webhook/send?key={TOKEN}"),
        (ChannelKind.WECOM, "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key="),
        (ChannelKind.WECOM, "https://[::1"),
        (ChannelKind.MAIL, "lin@example.com, all@example.com"),
        (ChannelKind.MAIL, "lin@example.com\r\nBcc: x@example.com"),
        (ChannelKind.MAIL, "lin"),
        (ChannelKind.WEBHOOK, "http://hooks.example.com/"),
        (ChannelKind.WEBHOOK, "file:///etc/passwd"),
        (ChannelKind.WEBHOOK, "https://user:secret@hooks.example.com/"),
        (ChannelKind.WEBHOOK, "https://hooks.example.com/a b"),
        (ChannelKind.WEBHOOK, "https://hooks.example.com/\r\nX-Evil: 1"),
        (ChannelKind.WEBHOOK, "https://hooks.example.com:99999/"),
        (ChannelKind.WEBHOOK, "https:///"),
        (ChannelKind.WEBHOOK, f"https://hooks.example.com/{'a' * 1000}"),
    ],
)
def test_an_address_of_the_wrong_form_or_host_is_refused(
    app: Flask, services: Receiver, monkeypatch: pytest.MonkeyPatch, kind: ChannelKind, to: str
) -> None:
    monkeypatch.setitem(app.config, "SMTP_URL", "smtp://127.0.0.1:25")
    with pytest.raises(Refused) as refused:
        address_of(app, kind, to=to)
    assert refused.value.field == "url"


def test_mail_is_not_offered_without_a_server(app: Flask) -> None:
    with pytest.raises(Refused, match="SMTP_URL"):
        address_of(app, ChannelKind.MAIL, to="lin@example.com")


@pytest.mark.parametrize("secret", ["a b", "密钥", "x" * 201, "a\nb"])
def test_a_key_of_the_wrong_form_is_refused(app: Flask, secret: str) -> None:
    with pytest.raises(Refused) as refused:
        address_of(app, ChannelKind.FEISHU, to=FEISHU, secret=secret)
    assert refused.value.field == "secret"


def test_a_dingtalk_key_holds_letters_and_digits_only(app: Flask) -> None:
    with pytest.raises(Refused, match="加签密钥"):
        address_of(app, ChannelKind.DINGTALK, to=DINGTALK, secret="SEC-1")
    assert address_of(app, ChannelKind.DINGTALK, to=f" {DINGTALK} ", secret="SEC1 ") == Address(DINGTALK, "SEC1")


def test_mail_for_which_no_server_is_left_is_not_tried_again(app: Flask) -> None:
    with pytest.raises(Undelivered, match="SMTP_URL") as problem:
        send(app, ChannelKind.MAIL, Address("lin@example.com"), MESSAGE)
    assert problem.value.lasting


def test_a_mail_servers_setting_without_a_sender_is_told_and_not_tried_again(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "SMTP_URL", "smtp://127.0.0.1:25?from=nobody")
    with pytest.raises(Undelivered, match="SMTP_URL 无法使用") as problem:
        send(app, ChannelKind.MAIL, Address("lin@example.com"), MESSAGE)
    assert problem.value.lasting


def test_hints_tell_two_addresses_apart_and_give_none_away() -> None:
    assert hint_of(ChannelKind.FEISHU, Address(FEISHU, "s")) == "open.feishu.cn/…e8f9"
    assert hint_of(ChannelKind.DINGTALK, Address(DINGTALK)) == "oapi.dingtalk.com/…e8f9"
    assert hint_of(ChannelKind.WECOM, Address(WECOM)) == "qyapi.weixin.qq.com/…e8f9"
    assert hint_of(ChannelKind.MAIL, Address("lin.xiaolan@example.com")) == "l***@example.com"
    assert hint_of(ChannelKind.WEBHOOK, Address("https://hooks.example.com/short?key=SECRET")) == "hooks.example.com/…"
    assert hint_of(ChannelKind.WEBHOOK, Address(f"https://hooks.example.com/{TOKEN}")).endswith("/…e8f9")


def test_a_text_is_cut_in_the_body_and_keeps_title_and_link() -> None:
    text = text_of(Message("1", "x", "bad", "标题", "汉" * 100, "https://a.example/", ""), largest=120)
    assert len(text.encode()) <= 120 and text.startswith("标题\n汉") and text.endswith("https://a.example/")
    assert text_of(Message("1", "x", "bad", "标题", "", "", "")) == "标题"


# Where nothing may be sent

INSIDE = (
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "fec0::1",
)


@pytest.mark.parametrize("number", INSIDE)
def test_no_name_that_leads_inside_is_sent_to(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    resolve(monkeypatch, {"inside.example.com": [(number, 443)]})
    with pytest.raises(Undelivered, match="内部网络") as problem:
        post("https://inside.example.com/", b"", {})
    assert problem.value.lasting
    with pytest.raises(Refused, match="内部网络"):
        check_address("https://inside.example.com/")


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://localhost/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/",
    ],
)
def test_no_spelling_of_this_machine_is_sent_to(address: str) -> None:
    with pytest.raises((Refused, Undelivered)):
        post(address, b"", {})


@pytest.mark.parametrize("number", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_numbers_are_allowed(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    resolve(monkeypatch, {"out.example.com": [(number, 443)]})
    assert check_address("https://out.example.com/").hostname == "out.example.com"


def test_a_name_with_one_inner_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"both.example.com": [("1.1.1.1", 443), ("10.0.0.1", 443)]})
    with pytest.raises(Undelivered, match="内部网络"):
        post("https://both.example.com/", b"", {})


def test_this_machine_is_allowed_in_demo_and_tests_only_and_only_there_without_tls(receiver: Receiver) -> None:
    address = f"http://127.0.0.1:{receiver.port}/"
    assert post(address, b"x", {}, local=True).status == 200
    with pytest.raises(Undelivered):
        post(address, b"x", {}, local=False)
    with pytest.raises(Refused):
        check_address("http://192.168.1.1/", local=True)
    assert len(receiver.got) == 1


def test_the_name_is_resolved_once_and_that_answer_is_connected_to(
    app: Flask, services: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = resolve(monkeypatch, {"hooks.example.com": [("127.0.0.1", services.port)]})
    assert post("https://hooks.example.com/", b"{}", {}, local=True).status == 200
    assert asked == ["hooks.example.com"]


def test_a_certificate_for_another_name_is_refused(services: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"other.example.com": [("127.0.0.1", services.port)]})
    with pytest.raises(Undelivered, match="证书"):
        post("https://other.example.com/", b"{}", {}, local=True)
    assert services.got == []


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 302, {"Location": f"http://127.0.0.1:{receiver.port}/inside"}
    assert post(f"http://127.0.0.1:{receiver.port}/", b"{}", {}, local=True).status == 302
    assert [got.path for got in receiver.got] == ["/"]


def test_of_a_long_answer_only_the_beginning_is_read(receiver: Receiver) -> None:
    receiver.answer = b"x" * 5_000_000
    assert len(post(f"http://127.0.0.1:{receiver.port}/", b"{}", {}, local=True).text) == egress.MOST


def test_an_answer_that_drips_ends_at_the_deadline(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "SECONDS", 1.0)
    receiver.answer, receiver.pause = b"x" * 200, 0.1  # in twenty seconds it would have come whole
    with pytest.raises(Undelivered, match="没有应答"):
        post(f"http://127.0.0.1:{receiver.port}/", b"{}", {}, local=True)


def test_a_server_that_never_answers_ends_at_the_deadline(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress, "SECONDS", 1.0)
    release = threading.Event()
    receiver.before = lambda: release.wait(5) and None
    with pytest.raises(Undelivered, match="没有应答"):
        post(f"http://127.0.0.1:{receiver.port}/", b"{}", {}, local=True)
    release.set()


def test_a_closed_port_and_an_unknown_name_are_told_in_words() -> None:
    with pytest.raises(Undelivered, match="连接不上"):
        post("http://127.0.0.1:9/", b"", {}, local=True)
    with pytest.raises(Undelivered, match="无法解析"):
        post("https://no-such-name.invalid/", b"", {})
