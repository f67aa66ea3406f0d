"""The outcome of a third-party app's self-test in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from markupsafe import Markup

from app.console import cells
from app.i18n.sentence import restated
from app.operations.inbound import refusals

Line = tuple[str, Markup, str]
PUBLIC = {
    "elsewhere": ("不是本系统", "地址有应答，但应答的不是本系统。请核对 PUBLIC_URL 和反向代理。"),
    "HTTP 403": ("应答 403", "推送到了地址，却被拒绝：可能到了另一套部署，或者被防火墙拦截。"),
    "HTTP 404": ("应答 404", "反向代理没有把这个路径转到本系统。"),
}
TOKEN = {
    "ok": ("正常", "good", "已取得接口调用凭据：AppID、AppSecret 和票据都正确。"),
    "no_ticket": ("未尝试", "mute", "还没有收到过票据，无法获取凭据。"),
    "old_ticket": ("未尝试", "mute", "3 小时内没有收到票据，无法获取凭据。"),
    "inactive": ("未尝试", "mute", "应用已停用。"),
    "too_soon": ("未重复", "mute", "一分钟内已经试过，这次没有再试。"),
    "refused": ("被拒绝", "bad", ""),
    "silent": ("没有结果", "warn", ""),
}


def shown(kept: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """When the last self-test was, and what it found: (label, state, sentence). None before the first."""
    found = (kept or {}).get("outcome")
    if not found:
        return None
    lines = [line for line in (_public(found), _process(found), _token(found.get("token"))) if line]
    return {"at": cells.clock(datetime.fromisoformat(found["at"])), "lines": lines}


def verdict(found: Mapping[str, Any]) -> tuple[str, str]:
    """What a self-test found, in a sentence, and the kind of message that it is: the worst of its parts decides."""
    token = TOKEN[found["token"]["state"]][1]
    if found["push"] != "ok" or token == "bad":
        return "自检发现问题，详情见下方", "danger"
    if found["public"] != "ok" or token == "warn":
        return "自检完成，有需要留意的地方，详情见下方", "warning"
    if token == "mute":
        return "自检完成：推送正常，凭据这次没有尝试", "info"
    return "自检完成：推送和凭据都正常", "success"


def _public(found: Mapping[str, Any]) -> Line | None:
    result = str(found["public"])
    if not result:
        return None
    label = "经公网地址推送"
    if result == "ok":
        return label, cells.label("正常", "good"), "测试推送经 PUBLIC_URL 回到了本系统，验签和解密都正确。"
    words, advice = PUBLIC.get(result, ("", ""))
    if not words and result.startswith("HTTP "):
        words, advice = f"应答 {result[5:]}", "应答不是 200。请检查 PUBLIC_URL 和反向代理。"
    if not words:
        words, advice = "不可达", f"{result}。从服务器自己访问不到，不一定代表抖音也访问不到。"
    return label, cells.label(words, "warn"), advice


def _process(found: Mapping[str, Any]) -> Line | None:
    """Only where the public address did not do."""
    if found["way"] == "public":
        return None
    label, result = "在本进程内推送", str(found["push"])
    if result == "ok":
        return label, cells.label("正常", "good"), "改在本进程内自检：验签和解密都正确。"
    words, advice = refusals.WORDS.get(result, (result, ""))
    return label, cells.label(words, "bad"), advice


def _token(found: Mapping[str, Any] | None) -> Line | None:
    if found is None:
        return None
    words, colour, text = TOKEN[str(found["state"])]
    return "获取凭据", cells.label(words, colour), restated(found.get("text") or text)
