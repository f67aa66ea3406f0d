"""Ways out of the console (飞书, 钉钉, 企业微信, mail, webhooks): how each is entered, kept, and sent to.

apprise knows the services' formats, limits and signatures. The bots' sending is ours: all three answer 200 with an
error number in the body, which apprise takes for success, and none of them may be sent anywhere but to its own host.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.email.base import NotifyEmail
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.wecombot import NotifyWeComBot
from flask import Flask

from app.addresses import THIS_MACHINE
from app.data.secrets import SealBroken
from app.errors import Refused
from app.i18n.sentence import say
from app.models.kit.notification import ChannelKind, NotificationChannel
from app.notices import egress
from app.notices.egress import Undelivered
from app.redaction import redact

MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
SIGNATURE = "X-Douzhou-Signature"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,128}")
_FEISHU = re.compile(r"/open-apis/bot/v2/hook/([A-Za-z0-9_-]{8,128})/?")
_LARGEST = {ChannelKind.WECOM: 2000, ChannelKind.DINGTALK: 18_000, ChannelKind.FEISHU: 18_000}  # bytes of a text
HOSTS = {
    ChannelKind.FEISHU: ("open.feishu.cn", "open.larksuite.com"),
    ChannelKind.DINGTALK: ("oapi.dingtalk.com",),
    ChannelKind.WECOM: ("qyapi.weixin.qq.com",),
}


@dataclass(frozen=True)
class Message:
    """What is sent. `id` stays the same over retries, so that a receiver can tell a repetition; `url` leads back."""

    id: str
    kind: str
    level: str
    title: str
    body: str
    url: str
    at: str  # ISO 8601, UTC


@dataclass(frozen=True)
class Address:
    """Where to, as it is kept sealed: a web address or a mailbox, and the secret for signing if there is one."""

    to: str
    secret: str = ""

    def packed(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def unpack(cls, text: str) -> Address:
        return cls(**json.loads(text))


def opened(channel: NotificationChannel) -> Address | None:
    """A channel's address; None when it cannot be opened any more (the data key is gone)."""
    try:
        return Address.unpack(channel.address or "")
    except (SealBroken, ValueError, TypeError):
        return None


def local_allowed(app: Flask) -> bool:
    """Whether messages may go to this machine: in the demo and in tests only."""
    return bool(app.config["DEMO"] or app.config["TESTING"])


def address_of(app: Flask, kind: ChannelKind, *, to: str, secret: str = "") -> Address:
    """What was typed, checked; Refused names the field (`url` or `secret`)."""
    to, secret = to.strip(), secret.strip()
    if kind == ChannelKind.MAIL:
        if not app.config["SMTP_URL"]:
            raise Refused("系统没有配置发件服务器（SMTP_URL），暂时不能使用邮件", field="url")
        if len(to) > 200 or not MAIL.fullmatch(to):
            raise Refused("邮箱地址格式不正确", field="url")
        return Address(to)
    if kind == ChannelKind.WEBHOOK:
        egress.check_address(to, local=local_allowed(app))
    else:
        _token(kind, to)
    if len(secret) > 200 or any(ord(letter) < 33 or ord(letter) > 126 for letter in secret):
        raise Refused("密钥应为不超过 200 位的字母、数字或符号", field="secret")
    if kind == ChannelKind.DINGTALK and secret and not secret.isalnum():
        raise Refused("加签密钥应为 SEC 开头的字母和数字", field="secret")
    return Address(to, secret)


def _token(kind: ChannelKind, address: str) -> str:
    """The key in a bot's address; Refused when it is not an address of that service."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    wrong = Refused(say("请粘贴机器人的 Webhook 地址，以 https://{host}/ 开头", host=HOSTS[kind][0]), field="url")
    if parts.scheme != "https" or parts.netloc.lower() not in HOSTS[kind]:
        raise wrong
    if kind == ChannelKind.FEISHU:
        found = _FEISHU.fullmatch(parts.path)
        token = found[1] if found else ""
    else:
        name = "access_token" if kind == ChannelKind.DINGTALK else "key"
        token = next(iter(parse_qs(parts.query).get(name, [])), "")
    if not _TOKEN.fullmatch(token) or (kind == ChannelKind.DINGTALK and not token.isalnum()):
        raise wrong
    return token


def hint_of(kind: ChannelKind, address: Address) -> str:
    """What a list shows of an address: enough to tell two apart, too little to send to it."""
    if kind == ChannelKind.MAIL:
        name, _, host = address.to.partition("@")
        return f"{name[:1]}***@{host}"[:64]
    parts = urlsplit(address.to)
    token = parts.path.strip("/") if kind == ChannelKind.WEBHOOK else _token(kind, address.to)
    tail = token[-4:] if len(token) >= 12 else ""
    return f"{parts.hostname}/…{tail}"[:64]


def send(app: Flask, kind: ChannelKind, address: Address, message: Message) -> str:
    """Send one message; gives what the service said. Undelivered says why not, in the service's own words."""
    return _SENDERS[kind](app, address, message)


def text_of(message: Message, *, largest: int = 18_000) -> str:
    """Title, body and link as plain text of at most so many bytes; of too long a body the end is left out."""
    head, tail = message.title, f"\n{message.url}" if message.url else ""
    room = largest - len(f"{head}\n{tail}…".encode())
    body = message.body.strip()
    if len(body.encode()) > room:
        body = body.encode()[: max(0, room)].decode(errors="ignore") + "…"
    return f"{head}\n{body}{tail}" if body else head + tail


# Bots


class _Bot:
    """What the three bots share: a text of limited size, sent to the service's own host, its error number read."""

    code_name = "errcode"
    words_name = "errmsg"

    def deliver(self, app: Flask, address: str, payload: dict[str, Any]) -> str:
        body = json.dumps(payload, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = egress.post(address, body, headers, local=local_allowed(app))
        try:
            found = json.loads(answer.text)
            code, words = found[self.code_name], str(found.get(self.words_name, ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Undelivered(f"对方返回了 HTTP {answer.status}，内容无法识别") from None
        if answer.status != 200 or code != 0:
            raise Undelivered(say("对方拒绝：{words}（{code}）", words=redact(words)[:200], code=str(code)))
        return words or "ok"


class FeishuBot(_Bot, NotifyFeishu):
    """自定义机器人: text, with timestamp and signature when the bot asks for them (签名校验)."""

    code_name, words_name = "code", "msg"

    def payload(self, text: str, secret: str) -> dict[str, Any]:
        # A text may hold tags there (<at user_id="all">); whoever named a shop does not call a whole group.
        made: dict[str, Any] = {"msg_type": "text", "content": {"text": text.replace("<", "＜")}}
        if secret:
            now = str(int(time.time()))
            digest = hmac.new(f"{now}\n{secret}".encode(), b"", hashlib.sha256).digest()
            made |= {"timestamp": now, "sign": base64.b64encode(digest).decode()}
        return made


class DingTalkBot(_Bot, NotifyDingTalk):
    """自定义机器人: text; the signature (加签) goes into the address."""

    def signed(self, address: str) -> str:
        if not self.secret:
            return address
        moment, sign = self.get_signature()
        return f"{address}&timestamp={moment}&sign={sign}"


class WeComBot(_Bot, NotifyWeComBot):
    """群机器人: text of at most 2048 bytes."""


def _to_feishu(app: Flask, address: Address, message: Message) -> str:
    bot = FeishuBot(token=_token(ChannelKind.FEISHU, address.to))
    host = urlsplit(address.to).netloc.lower()
    where = NotifyFeishu.notify_url.format(token=bot.token).replace(HOSTS[ChannelKind.FEISHU][0], host, 1).rstrip("/")
    text = text_of(message, largest=_LARGEST[ChannelKind.FEISHU])
    return bot.deliver(app, where, bot.payload(text, address.secret))


def _to_dingtalk(app: Flask, address: Address, message: Message) -> str:
    bot = DingTalkBot(token=_token(ChannelKind.DINGTALK, address.to), secret=address.secret or None)
    text = text_of(message, largest=_LARGEST[ChannelKind.DINGTALK])
    payload = {"msgtype": "text", "text": {"content": text}, "at": {"isAtAll": False}}
    return bot.deliver(app, bot.signed(NotifyDingTalk.notify_url.format(token=bot.token)), payload)


def _to_wecom(app: Flask, address: Address, message: Message) -> str:
    bot = WeComBot(key=_token(ChannelKind.WECOM, address.to))
    text = text_of(message, largest=_LARGEST[ChannelKind.WECOM])
    return bot.deliver(app, bot.api_url, {"msgtype": "text", "text": {"content": text}})


# Mail


def mail_options(url: str) -> dict[str, Any]:
    """The server of SMTP_URL as apprise takes it: smtps:// is TLS at once, smtp:// STARTTLS, on this machine plain."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    query = parse_qs(parts.query)
    user = unquote(parts.username or "")
    sender = next(iter(query.get("from", [])), "") or (user if "@" in user else f"douzhou@{host}")
    plain = parts.scheme == "smtp" and host in THIS_MACHINE
    return {
        "host": host,
        "smtp_host": host,
        "port": parts.port,
        "user": user or None,
        "password": unquote(parts.password or "") or None,
        "from_addr": sender,
        "secure": not plain,
        "secure_mode": "insecure" if plain else "ssl" if parts.scheme == "smtps" else "starttls",
    }


class _Heard(logging.Handler):
    """What apprise logs on this thread: its mail plugin says why only there."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.thread_id = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread_id and "xception" in record.getMessage():
            self.lines.append(record.getMessage().partition(": ")[2] or record.getMessage())


def _to_mail(app: Flask, address: Address, message: Message) -> str:
    if not app.config["SMTP_URL"]:
        raise Undelivered("系统没有配置发件服务器（SMTP_URL）", lasting=True)
    heard, log = _Heard(), logging.getLogger("apprise")
    log.propagate = False  # its debug lines name the recipients
    log.setLevel(logging.DEBUG)
    log.addHandler(heard)
    try:
        plugin = NotifyEmail(targets=[address.to], format="text", **mail_options(app.config["SMTP_URL"]))
        plugin.socket_connect_timeout = plugin.socket_read_timeout = egress.SECONDS
        body = "\n".join(part for part in (message.body.strip(), message.url) if part) or message.title
        sent = plugin.notify(title=f"[抖舟] {' '.join(message.title.split())}", body=body)
    except TypeError as problem:  # what apprise raises for settings it cannot use
        raise Undelivered(say("SMTP_URL 无法使用：{why}", why=redact(str(problem))[:200]), lasting=True) from None
    finally:
        log.removeHandler(heard)
    if not sent:
        lines = redact("；".join(heard.lines))[:200]
        raise Undelivered(say("邮件没有发出：{why}", why=lines or say("发件服务器没有接受")))
    return "ok"


# Webhooks


def signature(secret: str, moment: int, body: bytes) -> str:
    """`t=…,v1=…`: HMAC-SHA256 over `<t>.<body>`; a receiver refuses an old t, so that nothing can be replayed."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def _to_webhook(app: Flask, address: Address, message: Message) -> str:
    body = json.dumps(asdict(message), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "X-Douzhou-Delivery": message.id}
    if address.secret:
        headers[SIGNATURE] = signature(address.secret, int(time.time()), body)
    answer = egress.post(address.to, body, headers, local=local_allowed(app))
    if not 200 <= answer.status < 300:
        said = " ".join(redact(answer.text).split())[:120]
        words = say("对方返回了 HTTP {status}", status=answer.status)
        raise Undelivered(say("{words}：{said}", words=words, said=said) if said else words)
    return f"HTTP {answer.status}"


_SENDERS: dict[ChannelKind, Callable[[Flask, Address, Message], str]] = {
    ChannelKind.FEISHU: _to_feishu,
    ChannelKind.DINGTALK: _to_dingtalk,
    ChannelKind.WECOM: _to_wecom,
    ChannelKind.MAIL: _to_mail,
    ChannelKind.WEBHOOK: _to_webhook,
}
