"""Demo data: merchants with real-looking names, users with new passwords, and mini-programs in every stage."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

import click
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import accounts, passwords
from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import the_app
from app.jobs.run import run_now
from app.models import (
    Door,
    Industry,
    Merchant,
    MerchantState,
    MiniProgram,
    SubjectType,
    Template,
    ThirdPartyApp,
    User,
)
from app.models.kit import audit
from app.operations import runs, template
from app.operations.onboarding import arrival, links, ownership
from app.operations.perform import perform
from app.operations.release.sync import sync

SANDBOX_APP = {
    "appid": "ttsandbox000000001",
    "secret": "sandbox-component-secret-0001",
    "token": "sandboxToken01",
    "aes_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
}  # the sandbox's own, the same in every sandbox: no secret
INDUSTRIES = ("餐饮美食", "鲜花礼品", "美容美发", "教育培训", "家居装修", "汽车服务", "亲子摄影", "运动健身")
FULL = (
    ("云溪花坊", "鲜花礼品", "林晓岚", "13800010001", "杭州市西湖区文二路的社区花店，支持当日配送"),
    ("老槐树面馆", "餐饮美食", "周建国", "13800010002", "三十年手工面，主打油泼面与羊肉泡馍"),
    ("知行琴房", "教育培训", "沈知远", "13800010003", "钢琴与古筝小班课，提供免费试听"),
    ("木白装饰设计", "家居装修", "何木白", "13800010004", "旧房翻新与全屋定制，免费量房"),
    ("拾光亲子摄影", "亲子摄影", "唐一诺", "13800010005", "新生儿与亲子外景拍摄"),
)
LIGHT_HEADS = (
    "春和",
    "青禾",
    "南山",
    "北巷",
    "半夏",
    "知味",
    "拾光",
    "云舒",
    "锦里",
    "长安",
    "清欢",
    "溪边",
    "初见",
    "山野",
    "星河",
)
LIGHT_TAILS = {
    "小馆": "餐饮美食",
    "花店": "鲜花礼品",
    "造型": "美容美发",
    "学堂": "教育培训",
    "家居": "家居装修",
    "车行": "汽车服务",
    "影像": "亲子摄影",
    "健身": "运动健身",
    "茶舍": "餐饮美食",
    "烘焙": "餐饮美食",
    "书店": "教育培训",
    "布艺": "家居装修",
    "洗车": "汽车服务",
    "美甲": "美容美发",
    "母婴": "亲子摄影",
    "水果": "餐饮美食",
    "咖啡": "餐饮美食",
    "瑜伽": "运动健身",
    "画室": "教育培训",
    "礼品": "鲜花礼品",
}
LIGHT_COUNT = 300
FAMILY_NAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蒋蔡余杜叶程魏苏吕丁任沈"
GIVEN_NAMES = (
    "雨桐",
    "子涵",
    "梓萱",
    "一鸣",
    "思远",
    "佳怡",
    "浩然",
    "欣悦",
    "俊杰",
    "晓燕",
    "志强",
    "丽娟",
    "建华",
    "海燕",
    "文博",
    "静怡",
    "国庆",
    "秀兰",
    "明轩",
    "若曦",
    "天佑",
    "雅琴",
    "振宇",
    "春梅",
    "伟",
    "敏",
    "磊",
    "婷",
    "涛",
    "霞",
)
PLANS = ("基础版",) * 4 + ("标准版",) * 9 + ("专业版",) * 5 + ("旗舰版",) * 2 + ("",)
RATES = (0, 3, 3, 5, 5, 5, 6.5, 8)
SUBJECTS = (SubjectType.INDIVIDUAL,) * 6 + (SubjectType.COMPANY,) * 3 + (SubjectType.OTHER,)
NOTES = ("下午联系", "续费时赠送一次页面设计", "由老客户介绍", "希望周末上线", "两家门店共用一个小程序")
ACTOR = audit.Actor(None, "演示数据")


@click.command("demo-data")
@click.option("--sandbox", "sandbox_url", required=True, help="Address of the running sandbox.")
def demo_data(sandbox_url: str) -> None:
    """Fill an empty database for the demo; prints the accounts once. Does nothing when there is data."""
    app = the_app()
    with app_scope(app, PLATFORM, actor=ACTOR.info(Door.CLI)) as session:
        if session.scalars(select(Merchant.id).limit(1)).first() is not None:
            return
        owner = setting_up.add_third_party_app(session, SANDBOX_APP["appid"], "演示第三方应用", SANDBOX_APP)
        merchants = _merchants(session)
        for name, password in _users(session, merchants):
            click.echo(f"{name} {password}")
        session.commit()
        owner_id, merchant_ids = owner.id, [row.id for row in merchants]
    _fleet(app, Sandbox(sandbox_url), owner_id, merchant_ids)


@click.command("demo-passwords")
def demo_passwords() -> None:
    """New passwords for the demo's accounts, printed once; their sessions end."""
    app = the_app()
    with app_scope(app, PLATFORM, actor=ACTOR.info(Door.CLI)) as session:
        for user in session.scalars(select(User).order_by(User.id)):
            password = passwords.new_password()
            accounts.set_password(session, user, password, must_change=False)
            click.echo(f"{user.username} {password}")
        session.commit()


def _merchants(session: Session) -> list[Merchant]:
    industries = {name: Industry(name=name, position=place) for place, name in enumerate(INDUSTRIES)}
    session.add_all(industries.values())
    rows = []
    for name, trade, contact, phone, remarks in FULL:
        row = Merchant(
            name=name,
            industry=industries[trade],
            contact=contact,
            remarks=remarks,
            plan="旗舰版",
            commission_rate=5,
            subject_type=SubjectType.INDIVIDUAL if name.endswith("面馆") else SubjectType.COMPANY,
            expires_on=utcnow().date() + timedelta(days=300),
        )
        row.phone = phone
        rows.append(row)
    dice = random.Random(2024)
    names = [(f"{head}{tail}", trade) for head in LIGHT_HEADS for tail, trade in LIGHT_TAILS.items()][:LIGHT_COUNT]
    rows += [_light(dice, number, name, industries[trade]) for number, (name, trade) in enumerate(names)]
    session.add_all(rows)
    session.flush()
    return rows


def _light(dice: random.Random, number: int, name: str, industry: Industry) -> Merchant:
    """A merchant that came some time within the last year, for some of whom the plan is over or about to be."""
    age, plan = dice.randrange(1, 360), dice.choice(PLANS)
    row = Merchant(
        name=name,
        industry=industry,
        contact=dice.choice(FAMILY_NAMES) + dice.choice(GIVEN_NAMES),
        subject_type=dice.choice(SUBJECTS),
        commission_rate=dice.choice(RATES),
        plan=plan,
        expires_on=utcnow().date() + timedelta(days=dice.randrange(-40, 360)) if plan else None,
        remarks=dice.choice(NOTES) if dice.random() < 0.2 else "",
        created_at=utcnow() - timedelta(days=age, minutes=number),
    )
    if dice.random() < 0.04:
        row.state = MerchantState.SUSPENDED
    row.phone = f"1380002{number:04}"
    return row


def _users(session: Session, merchants: list[Merchant]) -> Iterator[tuple[str, str]]:
    for name, role in (("admin", "platform_admin"), ("operator", "operator"), ("auditor", "auditor")):
        yield setting_up.add_user(session, name, role, password=passwords.new_password())
    for number, row in enumerate(merchants[: len(FULL)], start=1):
        name, chosen = f"merchant{number}", passwords.new_password()
        user = accounts.create_user(session, name, ["owner"], merchant=row, full_name=name, password=chosen)
        user.username = name  # as before names had their merchant's space: the same in every demo
        yield name, chosen


class Sandbox:
    """The sandbox's control API."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def act(self, path: str, **body: Any) -> dict[str, Any]:
        """POST below /_sandbox/api/; the JSON that comes back."""
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.url}/_sandbox/api/{path}", json.dumps(body).encode(), headers)  # noqa: S310  (ours)
        with urlopen(request, timeout=10) as answer:  # noqa: S310  (the demo's own sandbox)
            return dict(json.load(answer))


# What becomes of each mini-program, in the order of the merchants: its last stage and the granted permission sets.
STAGES = (
    ("live", [1, 2, 3]),
    ("rejected", [1, 2, 3]),
    ("auditing", [1, 2, 3]),
    ("uploaded", [1, 2, 3]),
    ("approved", [1, 2, 3]),
    ("live", [1, 2]),
    ("auditing", [1, 2]),
    ("authorized", [1]),
    ("revoked", [1, 2]),
)


def _fleet(app: Flask, sandbox: Sandbox, owner_id: int, merchant_ids: list[int]) -> None:
    """Authorise some of the sandbox's mini-programs, the merchants' way, and take them to different stages."""
    _ticket(app, owner_id, sandbox)
    appids = [row["appid"] for row in sandbox.act("apps", count=len(STAGES))["apps"]]
    for merchant_id, appid, (_, permissions) in zip(merchant_ids, appids, STAGES, strict=False):
        _authorize(app, sandbox, (owner_id, merchant_id), appid, permissions)
    template.sync(app, owner_id)
    for appid, (stage, _) in zip(appids, STAGES, strict=True):
        _take_to(app, sandbox, appid, stage)
    run_now(app, "notices", ACTOR.name)  # so that the bell already knows what nobody announces


def _ticket(app: Flask, owner_id: int, sandbox: Sandbox) -> None:
    with app_scope(app, PLATFORM) as session:
        owner = session.get_one(ThirdPartyApp, owner_id)
        owner.ticket, owner.ticket_at = sandbox.act("ticket", appid=owner.appid)["tickets"][owner.appid], utcnow()
        session.commit()


def _authorize(app: Flask, sandbox: Sandbox, ids: tuple[int, int], appid: str, permissions: list[int]) -> None:
    """Link, consent, and the merchant's return."""
    with app_scope(app, PLATFORM, actor=ACTOR.info(Door.CLI)) as session:
        owner, merchant = session.get_one(ThirdPartyApp, ids[0]), session.get_one(Merchant, ids[1])
        about = {"intro": f"{merchant.name}，在线预约与到店优惠", "subject_name": f"{merchant.name}（个体工商户）"}
        sandbox.act(f"apps/{appid}", name=merchant.name[:20], **about)
        link = links.make_link(session, merchant, owner, actor=ACTOR)
        back = urlsplit(sandbox.act("consent", link=link.url, appid=appid, permissions=permissions)["redirect_url"])
    arrival.complete(app, back.path.rsplit("/", 1)[-1], dict(parse_qsl(back.query))["authorization_code"])


def _take_to(app: Flask, sandbox: Sandbox, appid: str, stage: str) -> None:
    if stage == "authorized":
        return
    if stage == "revoked":
        sandbox.act("revoke", appid=appid)
        ownership.revoke(app, appid, "商户取消授权")
        return
    with app_scope(app, PLATFORM) as session:
        newest = session.scalars(select(Template.template_id).order_by(Template.id.desc())).first() or ""
    description = "首个版本：店铺主页与商品展示"
    row_id = _operate(app, "upload_code", appid, template_id=newest, version="1.0.0", description=description)
    if stage != "uploaded":
        _operate(app, "submit_audit", appid, note="演示账号，无需登录即可浏览")
    if stage in {"uploaded", "auditing"}:
        return
    reason = "首页存在空白区域，请补充内容后重新提交" if stage == "rejected" else ""
    sandbox.act("audit", appid=appid, verdict="reject" if reason else "approve", reason=reason)
    sync(app, row_id)
    if stage == "live":
        _operate(app, "release", appid)


def _operate(app: Flask, name: str, appid: str, **params: str) -> int:
    """One operation, performed here or by a worker of the running console; the mini-program's id."""
    with app_scope(app, PLATFORM, actor=ACTOR.info(Door.CLI)) as session:
        row = session.scalars(select(MiniProgram).where(MiniProgram.appid == appid)).one()
        run = runs.request(session, name, row, actor=ACTOR, door=Door.CLI, **params)
        run_id, row_id = run.id, row.id
    perform(app, run_id)
    runs.wait_for(app, run_id, 10)
    return row_id


def register(app: Flask) -> None:
    """Attach the demo's commands, in the demo only."""
    if app.config["DEMO"]:
        app.cli.add_command(demo_data)
        app.cli.add_command(demo_passwords)
