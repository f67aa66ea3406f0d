"""HTML of the consent page and of its outcomes."""

from __future__ import annotations

from html import escape
from urllib.parse import urlencode

from .page import page
from .state import App, Subject

_TICKED = (1, 2)


def choose_page(
    *,
    owner: str,
    apps: list[App],
    total: int,
    query: dict[str, str],
    path: str,
    permissions: dict[int, tuple[str, str]],
    wish: str,
) -> str:
    """The form. `wish` is the name of a mini-program to be created; then there is none to choose."""
    kept = {name: value for name, value in query.items() if name != "q"}
    action = escape(f"{path}?{urlencode(kept)}")
    search, chooser = "", ""
    if wish:
        chooser = f"<p>将为您创建小程序 <b>{escape(wish)}</b>，并授权给该服务商。</p>"
    else:
        search, chooser = _search(path, kept, query.get("q", "")), _apps(apps, total)
    content = (
        f"<section><h1>小程序授权</h1><p><b>{escape(owner)}</b> 申请管理您的小程序。"
        "授权后服务商可代您开发与运营。</p>"
        f"{search}"
        f'<form method="post" action="{action}">{chooser}'
        f"<h2>授予的权限集</h2>{_permissions(permissions)}"
        '<div class="row"><button class="main" name="decision" value="confirm">确认授权</button>'
        '<button name="decision" value="refuse" formnovalidate>拒绝</button></div></form></section>'
    )
    return page("小程序授权", content, narrow=True)


def _search(path: str, kept: dict[str, str], text: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in kept.items()
    )
    return (
        f'<form method="get" action="{escape(path)}">{hidden}'
        '<label for="q">搜索小程序（名称或 AppID）</label>'
        f'<div class="row" style="margin:0"><input id="q" name="q" value="{escape(text)}" style="flex:1">'
        "<button>搜索</button></div></form>"
    )


def _apps(apps: list[App], total: int) -> str:
    if not apps:
        return '<p class="bad">没有符合条件的小程序</p>'
    rows = "".join(_app(app) for app in apps)
    more = f'<p class="soft">共 {total} 个，仅显示前 {len(apps)} 个，请搜索</p>' if total > len(apps) else ""
    return f'<div class="apps">{rows}</div>{more}'


def _app(app: App) -> str:
    state = "已授权" if app.authorized_to else ""
    if app.subject is not Subject.VERIFIED:
        state = "主体未认证"
    elif app.banned:
        state = "已封禁"
    tag = f' <span class="tag">{state}</span>' if state else ""
    return (
        f'<label class="pick"><input type="radio" name="appid" value="{escape(app.appid)}" required>'
        f"<span>{escape(app.name)}{tag}</span><small>{escape(app.appid)}</small></label>"
    )


def _permissions(permissions: dict[int, tuple[str, str]]) -> str:
    return "".join(
        f'<label class="pick"><input type="checkbox" name="permissions" value="{number}"'
        f"{' checked' if number in _TICKED else ''}>"
        f"<span>{escape(name)}</span><small>{escape(text)}</small></label>"
        for number, (name, text) in permissions.items()
    )


def failed_page(code: int, text: str, again: str = "") -> str:
    back = f'<p><a href="{escape(again)}">返回重新选择</a></p>' if again else ""
    return page(
        "授权失败",
        f'<section><h1>授权失败</h1><p class="bad">{escape(text)}</p><p class="soft">错误码 {code}</p>{back}</section>',
        narrow=True,
    )


def refused_page(again: str) -> str:
    return page(
        "已拒绝授权",
        "<section><h1>已拒绝授权</h1><p>您没有授权，服务商不会收到任何通知。</p>"
        f'<p><a href="{escape(again)}">返回授权页</a></p></section>',
        narrow=True,
    )


def done_page(name: str) -> str:
    return page(
        "授权成功",
        f"<section><h1>授权成功</h1><p>{escape(name)} 已授权。可以关闭本页。</p></section>",
        narrow=True,
    )
