"""HTML of the control page: settings, mini-programs, third-party apps, pushes, last calls."""

from __future__ import annotations

from html import escape
from typing import Any

from .calls import Fields
from .page import page

_SETTINGS = (
    ("audit_seconds", "审核用时（秒）"),
    ("verdict", "审核结论"),
    ("reason", "驳回理由"),
    ("latency_ms", "延迟（毫秒）"),
    ("latency_jitter_ms", "延迟抖动（毫秒）"),
    ("error_rate", "错误率 0–1"),
    ("error_code", "错误码（0 为系统繁忙）"),
    ("rate_limit", "频控（次/秒，0 不限）"),
    ("drop_before_rate", "生效前丢响应 0–1"),
    ("drop_after_rate", "生效后丢响应 0–1"),
    ("drop_before_next", "生效前丢下 N 次"),
    ("drop_after_next", "生效后丢下 N 次"),
    ("drop_path", "丢弃的路径包含"),
    ("unpaired_next", "不给刷新令牌 N 次"),
    ("push_loss_rate", "推送丢失率 0–1"),
    ("push_duplicate_rate", "推送重复率 0–1"),
    ("rollback_seconds", "回退生效（秒）"),
    ("outage", "故障"),
    ("ip_blocked", "IP 不在白名单"),
)
_CHOICES = {
    "verdict": (("approve", "通过"), ("reject", "驳回"), ("random", "随机")),
    "outage": (
        ("off", "正常"),
        ("refuse", "拒绝连接"),
        ("hang", "不响应"),
        ("500", "HTTP 500"),
        ("html", "返回网页"),
        ("empty", "空响应"),
        ("half", "半截响应"),
    ),
    "ip_blocked": (("false", "否"), ("true", "是")),
}
_STATUS = {0: "审核中", 1: "已通过", 2: "已驳回", 3: "已撤回"}
_APPS_SHOWN = 100


def control_page(state: Fields, pushes: list[Fields], rows: list[Fields], search: str) -> str:
    return page(
        "抖音沙箱控制台",
        _settings(state["settings"])
        + _moves()
        + _apps(state["apps"], search)
        + _thirdparties(state["thirdparties"])
        + _pushes(pushes)
        + _calls(rows),
        note=f"种子 {state['seed']} · 时钟快 {state['clock_offset']:.0f} 秒",
    )


def _field(name: str, label: str, value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    if name in _CHOICES:
        options = "".join(
            f'<option value="{key}"{" selected" if key == shown else ""}>{text}</option>'
            for key, text in _CHOICES[name]
        )
        control = f'<select name="{name}">{options}</select>'
    else:
        control = f'<input name="{name}" value="{escape(shown)}">'
    return f"<label>{label}{control}</label>"


def _settings(settings: Fields) -> str:
    fields = "".join(_field(name, label, settings[name]) for name, label in _SETTINGS)
    return (
        '<section><h2>开关</h2><form method="post" action="/_sandbox/api/settings">'
        f'<div class="grid">{fields}</div>'
        '<div class="row"><button class="main">保存</button></div></form></section>'
    )


def _button(action: str, label: str, **fields: str) -> str:
    hidden = "".join(f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in fields.items())
    return f'<form method="post" action="/_sandbox/api/{action}">{hidden}<button>{label}</button></form>'


def _moves() -> str:
    return (
        '<section><h2>动作</h2><div class="row">'
        + _button("ticket", "立即推送 ticket")
        + _button("expire", "component token 过期", kind="component")
        + _button("expire", "授权 token 过期", kind="authorizer")
        + _button("expire", "刷新令牌过期", kind="refresh")
        + _button("expire", "ticket 过期", kind="ticket")
        + _button("advance", "时钟快进 1 小时", seconds="3600")
        + _button("advance", "快进 1 天", seconds="86400")
        + _button("apps", "增加 10 个小程序", count="10")
        + _button("reset", "全部重置")
        + "</div></section>"
    )


def _apps(apps: list[Fields], search: str) -> str:
    found = [app for app in apps if search in app["name"] or search in app["appid"]]
    rows = "".join(_app(app) for app in found[:_APPS_SHOWN])
    return (
        f"<section><h2>小程序（{len(found)}）</h2>"
        '<form method="get" action="/_sandbox/"><div class="row" style="margin:0 0 10px">'
        f'<input name="q" aria-label="搜索小程序" placeholder="名称或 AppID" value="{escape(search)}" '
        'style="flex:1"><button>搜索</button></div></form>'
        '<div class="scroll"><table><thead><tr><th>名称</th><th>AppID</th><th>状态</th><th>测试版</th>'
        f"<th>审核版</th><th>线上版</th><th>操作</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _app(app: Fields) -> str:
    audit = app["audit"]
    flags = [
        text
        for shown, text in (
            (app["template_of"], "模板"),
            (app["authorized_to"], "已授权"),
            (not app["subject_verified"], "主体未认证"),
            (not app["categories"], "无类目"),
            (app["banned"], "封禁"),
            (app["personal"], "个人"),
        )
        if shown
    ]
    tags = " ".join(f'<span class="tag">{flag}</span>' for flag in flags)
    stage = f"{escape(audit['version'])} {_STATUS[audit['status']]}" if audit else "—"
    return (
        f"<tr><td>{escape(app['name'])}</td><td><code>{escape(app['appid'])}</code></td><td>{tags}</td>"
        f"<td>{escape(app['latest']) or '—'}</td><td>{stage}</td><td>{escape(app['current']) or '—'}</td>"
        f'<td><div class="row" style="margin:0">{_app_buttons(app)}</div></td></tr>'
    )


def _app_buttons(app: Fields) -> str:
    appid, buttons = app["appid"], []
    if app["audit"] and app["audit"]["status"] == 0:
        buttons.append(_button("audit", "通过", appid=appid, verdict="approve"))
        buttons.append(_button("audit", "驳回", appid=appid, verdict="reject"))
    if app["authorized_to"]:
        buttons.append(_button("revoke", "解除授权", appid=appid))
    ban = "false" if app["banned"] else "true"
    buttons.append(_button(f"apps/{appid}", "解封" if app["banned"] else "封禁", banned=ban))
    return "".join(buttons)


def _thirdparties(owners: list[Fields]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(owner['appid'])}</code></td>"
        f"<td>{'已送达' if owner['ticket_delivered'] else '未送达'}</td>"
        f'<td class="wide"><code>{escape(owner["authorization_url"]) or "未设置"}</code></td>'
        f'<td class="wide"><code>{escape(owner["message_url"]) or "未设置"}</code></td>'
        f"<td><code>{escape(owner['auth_domain']) or '—'}</code></td></tr>"
        for owner in owners
    )
    return (
        '<section><h2>第三方小程序应用</h2><div class="scroll"><table><thead><tr>'
        "<th>AppID</th><th>ticket</th>"
        "<th>授权事件接收 URL</th><th>消息与事件接收 URL</th><th>授权域名</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _pushes(pushes: list[Fields]) -> str:
    rows = "".join(
        f"<tr><td>{escape(push['event'])}</td><td><code>{escape(push['appid']) or '—'}</code></td>"
        f'<td>{push["try"]}</td><td class="wide">{escape(push["result"])}</td></tr>'
        for push in pushes[:30]
    )
    return (
        '<section><h2>最近的推送</h2><div class="scroll"><table><thead><tr>'
        "<th>事件</th><th>小程序</th><th>次数</th>"
        f"<th>结果</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _calls(rows: list[Fields]) -> str:
    shown = "".join(
        f"<tr><td>{row['n']}</td><td>{escape(row['operation_id'] or '—')}</td><td>{row['method']}</td>"
        f'<td class="wide"><code>{escape(row["path"])}</code></td>'
        f"<td>{row['lost'] or _code(row['answer'])}</td></tr>"
        for row in reversed(rows[-50:])
    )
    return (
        '<section><h2>最近的调用</h2><div class="scroll"><table><thead><tr>'
        "<th>#</th><th>接口</th><th>方法</th>"
        f"<th>路径</th><th>结果</th></tr></thead><tbody>{shown}</tbody></table></div></section>"
    )


def _code(answer: Any) -> str:
    if not isinstance(answer, dict):
        return "—"
    return escape(str(answer.get("err_no", answer.get("errno", answer.get("error", 0)))))
