"""A merchant is taken from nothing to online, by clicking: real processes, a real browser, Chinese pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser import steps
from tests.browser.conftest import System
from tests.conftest import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]  # one running system for all
OpenPage = Callable[..., Page]


@pytest.fixture
def launched(page: Page, system: System, shop: int) -> str:
    """The shop's mini-program with 1.0.0 uploaded; its appid."""
    appid = steps.authorize(page, system, shop, f"小程序{shop}")
    steps.sync_templates(page, system)
    steps.open_app(page, system, appid)
    steps.operate(page, "上传代码")
    expect(page.locator("main")).to_contain_text("1.0.0")
    return appid


# From nothing to online


def test_a_merchant_is_authorised_by_its_link_and_seen_in_the_console(page: Page, system: System, shop: int) -> None:
    appid = system.new_app("云溪花坊小程序")
    link = steps.make_link(page, system, shop)
    expect(page.locator(".share")).to_contain_text("链接只能用一次")
    steps.consent(page, link, appid, "1", "2", "3")
    expect(page.locator("h1")).to_have_text("授权成功")
    expect(page.locator(".sets")).to_contain_text("开发管理")
    assert page.url.startswith(f"{system.url}/douyin/authorized/")
    steps.open_app(page, system, appid)
    expect(page.locator(".row-head")).to_contain_text("已授权")
    expect(page.locator("main")).to_contain_text("云溪花坊小程序")
    assert steps.stages(page) == {"授权": "已授权", "上传": "未开始", "审核": "未开始", "上线": "未开始"}
    page.goto(f"{system.url}/merchantview/show/{shop}")
    expect(page.locator(".stepper-good")).to_have_count(2)


def test_the_link_and_the_merchants_page_follow_the_consent_by_themselves(
    page: Page, open_page: OpenPage, system: System, shop: int
) -> None:
    appid = system.new_app("等待授权小程序")
    link = steps.make_link(page, system, shop)
    expect(page.locator(".row-next")).to_contain_text("对方同意后，本页会自动更新")
    other = page.context.new_page()
    other.goto(f"{system.url}/merchantview/show/{shop}")
    expect(other.locator(".row-primary a")).to_have_text("查看授权链接")
    steps.consent(open_page(), link, appid, "1", "2", "3")
    expect(page.locator(".row-next")).to_contain_text("授权已完成")
    expect(page.locator(".share")).to_have_count(0)
    other.bring_to_front()
    expect(other.locator(".row-primary a")).to_have_text("打开小程序")
    expect(other.locator(".stepper-good")).to_have_count(2)
    page.bring_to_front()
    page.click("a.btn-primary:has-text('打开小程序')")
    expect(page.locator(".row-next")).to_contain_text("还没有上传代码")


def test_missing_permission_sets_are_named_to_the_merchant_and_in_the_console(
    page: Page, system: System, shop: int
) -> None:
    appid = system.new_app("缺权限小程序")
    steps.consent(page, steps.make_link(page, system, shop), appid, "1")
    expect(page.locator(".hint").first).to_contain_text("缺少权限：基本信息设置")
    steps.open_app(page, system, appid)
    expect(page.locator(".row-next")).to_contain_text("缺少权限「基本信息设置」")


def test_what_was_read_stands_on_the_page_and_beside_the_list(page: Page, system: System, launched: str) -> None:
    steps.open_app(page, system, launched)
    steps.operate(page, "同步基本信息")
    page.reload()
    expect(page.locator("[data-answer]")).to_contain_text("类目")
    page.goto(f"{system.url}/miniprogramview/list/?q={launched}")
    page.locator("tbody tr").first.hover()
    page.locator("td .mini-eye").first.click()
    expect(page.locator("#drawer [data-answer]")).to_contain_text("类目")


def test_upload_audit_release_reject_withdraw_and_rollback(page: Page, system: System, launched: str) -> None:
    assert steps.stages(page)["上传"] == "1.0.0"
    page.click(".row-head a.btn-primary:has-text('提交审核')")
    page.fill("[name=note]", "无需登录即可浏览")
    steps.confirm(page, "提交审核")
    expect(page.locator("main")).to_contain_text("1.0.0 审核中")
    system.decide(launched, "approve")
    steps.wait_for(page, "1.0.0 审核通过")
    page.click(".row-head a.btn-primary:has-text('发布上线')")
    steps.confirm(page, "发布上线")
    assert steps.stages(page)["上线"] == "1.0.0"

    reject_and_withdraw(page, system, launched)

    steps.operate(page, "上传代码", version="1.1.0", description="第三个版本")
    system.let_pass()
    page.click(".row-head a.btn-primary:has-text('提交审核')")
    steps.confirm(page, "提交审核")
    system.decide(launched, "approve")
    steps.wait_for(page, "1.1.0 审核通过")
    page.click(".row-head a.btn-primary:has-text('发布上线')")
    steps.confirm(page, "发布上线")
    assert steps.stages(page)["上线"] == "1.1.0"

    steps.operate(page, "回滚版本")
    expect(page.locator(".events")).to_contain_text("已请求回滚到 1.0.0")
    steps.operate(page, "同步版本")
    steps.wait_for(page, "已回滚")
    assert steps.stages(page)["上线"] == "1.0.0"
    assert system.sandbox.effects(launched)["released"] == ["1.0.0", "1.1.0", "1.0.0"]


def reject_and_withdraw(page: Page, system: System, appid: str) -> None:
    """1.0.1 is rejected with its reason shown, submitted again, and withdrawn."""
    steps.operate(page, "上传代码")
    system.let_pass()
    page.click(".row-head a.btn-primary:has-text('提交审核')")
    steps.confirm(page, "提交审核")
    system.decide(appid, "reject", "首页存在空白区域，请补充内容")
    steps.wait_for(page, "1.0.1 审核驳回")
    expect(page.locator(".row-next")).to_contain_text("请按驳回原因修改")
    expect(page.locator(".events")).to_contain_text("首页存在空白区域，请补充内容")
    page.click("[data-tab=versions]")
    page.click("table.grid a:text-is('1.0.1')")
    expect(page.locator("dl.facts >> text=首页存在空白区域").first).to_be_visible()
    page.go_back()
    system.let_pass()
    steps.operate(page, "提交审核")
    expect(page.locator("main")).to_contain_text("1.0.1 审核中")
    steps.operate(page, "撤回审核")
    expect(page.locator("main")).to_contain_text("1.0.1 已撤回")


def test_ext_json_is_shown_before_the_upload_and_says_whose_it_is(page: Page, system: System, shop: int) -> None:
    appid = steps.authorize(page, system, shop, "待上传小程序")
    steps.sync_templates(page, system)
    steps.open_app(page, system, appid)
    page.click(".row-head a.btn-primary:has-text('上传代码')")
    ext = page.input_value("[name=ext]")
    assert f'"extAppid": "{appid}"' in ext
    assert page.input_value("[name=version]") == "1.0.0"
    assert system.sandbox.effects(appid)["upload"] == 0


# Links that lead nowhere


def test_a_refused_consent_leaves_the_link_open_and_says_what_to_do(page: Page, system: System, shop: int) -> None:
    link = steps.make_link(page, system, shop)
    shown = page.url
    page.goto(link)
    page.click("text=拒绝 >> nth=-1")
    expect(page.locator("h1")).to_have_text("已拒绝授权")
    page.goto(shown)
    expect(page.locator("main")).to_contain_text("待使用")


def test_a_return_without_a_code_says_how_to_go_on(page: Page, system: System, shop: int) -> None:
    appid, link = system.new_app("半途小程序"), steps.make_link(page, system, shop)
    back: list[str] = []

    def hold(route: Any) -> None:
        answer = route.fetch(max_redirects=0)
        back.extend([answer.headers["location"]] if "location" in answer.headers else [])
        route.fulfill(status=200 if back else answer.status, body="" if back else answer.text())

    page.route(f"{system.sandbox.url}/**", hold)
    steps.consent(page, link, appid, "1", "2")
    page.wait_for_load_state()
    answer = page.goto(without_query(back[0]))
    assert answer is not None and answer.status == 400
    expect(page.locator("h1")).to_have_text("授权没有完成")
    expect(page.locator(".advice")).to_contain_text("请重新打开服务商发送的授权链接")


def without_query(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


def test_a_used_link_says_so_in_chinese(page: Page, system: System, shop: int) -> None:
    steps.authorize(page, system, shop, "用过的小程序")
    used = without_query(page.url)
    again = page.goto(used)
    assert again is not None and again.status == 200  # the page that waited, seen once more
    answer = page.goto(f"{used}?authorization_code=another-one")
    assert answer is not None and answer.status == 409
    expect(page.locator("h1")).to_have_text("授权链接已使用")
    expect(page.locator(".advice")).to_contain_text("联系服务商")


@pytest.mark.parametrize(
    ("made", "title", "advice"),
    [
        ("expires_at = '2020-01-01 00:00:00.000000'", "授权链接已过期", "重新发送授权链接"),
        ("state = 'void'", "授权链接无效", "重新打开链接"),
    ],
    ids=["expired", "void"],
)
def test_a_link_that_is_over_says_how_to_get_another(
    page: Page, system: System, shop: int, made: str, title: str, advice: str
) -> None:
    appid, link = system.new_app("迟到的小程序"), steps.make_link(page, system, shop)
    number = steps.number_in(page.url)
    system.execute(f"UPDATE authorization_link SET {made} WHERE id = ?", number)
    steps.consent(page, link, appid, "1", "2")
    expect(page.locator("h1")).to_have_text(title)
    expect(page.locator(".advice")).to_contain_text(advice)


# The merchant's side


def test_a_merchants_user_sees_its_own_mini_program_and_nobody_elses(
    page: Page, open_page: OpenPage, system: System, shop: int, launched: str
) -> None:
    other = steps.add_merchant(page, system, f"别家{shop}", "行业")
    steps.authorize(page, system, other, f"别家小程序{shop}")
    own = open_page()
    become_owner(page, own, system, shop)
    expect(own.locator("main")).to_contain_text("1.0.0")
    expect(own.locator("main")).to_contain_text(f"小程序{shop}")
    assert f"别家小程序{shop}" not in own.inner_text("body")
    assert not own.locator(".side a:has-text('商户列表')").count()
    own.goto(f"{system.url}/myminiprogramview/list/")
    expect(own.locator("tbody tr")).to_have_count(1)
    own.click(".list-grid tbody td.n a")
    mine = steps.number_in(own.url)
    for number in foreign_rows(page, system, mine):
        answer = own.goto(f"{system.url}/myminiprogramview/show/{number}")
        assert answer is not None and answer.status == 404
        expect(own.locator("body")).to_contain_text("返回工作台")
    own.goto(f"{system.url}/myversionview/list/")
    expect(own.locator("tbody tr")).to_have_count(1)
    answer = own.goto(f"{system.url}/merchantview/list/")
    assert answer is not None and answer.status == 403


def foreign_rows(page: Page, system: System, mine: int) -> list[int]:
    """Numbers of other merchants' mini-programs, as the platform sees them; one that exists nowhere."""
    page.goto(f"{system.url}/miniprogramview/list/")
    links = [link.get_attribute("href") or "" for link in page.locator(".list-grid tbody td.n a").all()]
    found = {steps.number_in(link) for link in links} - {mine}
    assert found
    return [*sorted(found)[:2], 99_999]


def become_owner(page: Page, own: Page, system: System, merchant_id: int) -> None:
    """Make an owner on the merchant's page, and set its password by the link that is shown once."""
    page.goto(f"{system.url}/merchantview/show/{merchant_id}")
    page.click("[data-tab=staff]")
    page.click("[data-tab-panel=staff] a:has-text('新建商户用户')")
    page.fill("[name=username]", f"owner{merchant_id}")
    page.select_option("[name=roles]", label="商户管理员")
    steps.save(page)
    given = page.inner_text(".shown-once")
    own.goto(given)
    expect(own.locator("main")).to_contain_text(f"owner{merchant_id}")  # the script gave the token
    assert "#" not in own.url
    own.fill("[name=password]", PASSWORD)
    own.fill("[name=again]", PASSWORD)
    own.click("button:has-text('设置密码并登录')")
    expect(own.locator(".acting")).to_contain_text("开通：")


def test_logging_in_as_a_merchant_shows_a_banner_until_one_signs_out(page: Page, system: System, shop: int) -> None:
    page.goto(f"{system.url}/merchantview/show/{shop}")
    page.click("a:has-text('登录商户')")
    page.click("main button[type=submit]")
    expect(page.locator("main")).to_contain_text("请填写原因")
    page.fill("[name=reason]", "工单 1024：协助核对资料")
    page.click("main button[type=submit]")
    banner = page.locator(".acting")
    expect(banner).to_contain_text("的身份操作")
    expect(banner).to_contain_text("工单 1024：协助核对资料")
    answer = page.goto(f"{system.url}/merchantview/list/")
    assert answer is not None and answer.status == 403
    page.goto(system.url)
    page.click(".acting a:has-text('结束')")
    page.click("main button[type=submit]")
    page.wait_for_url("**/login/**")
    steps.log_in(page, system)
    expect(page.locator(".acting")).to_have_count(0)


# Forms and pages


def test_a_bad_version_number_is_named_beside_its_field_and_nothing_typed_is_lost(
    page: Page, system: System, launched: str
) -> None:
    steps.begin(page, "上传代码")
    page.fill("[name=version]", "1.0")
    page.fill("[name=description]", "只改了说明 <b>&")
    page.click("button:has-text('确认上传代码')")
    wrong = page.locator(".field-bad")
    expect(wrong).to_have_count(1)
    expect(wrong.locator("[name=version]")).to_have_value("1.0")
    expect(wrong.locator(".wrong")).to_contain_text("版本号")
    expect(page.locator("[name=description]")).to_have_value("只改了说明 <b>&")
    assert launched in page.input_value("[name=ext]")


def test_a_merchants_name_that_is_taken_is_said_beside_the_name(page: Page, system: System, shop: int) -> None:
    page.goto(f"{system.url}/merchantview/show/{shop}")
    name = page.inner_text("h1")
    page.goto(f"{system.url}/merchantview/add")
    page.fill("[name=name]", name)
    page.fill("[name=contact]", "林晓岚")
    steps.pick(page, "industry", "行业")
    steps.save(page)
    wrong = page.locator(".field-bad")
    expect(wrong.locator(".wrong")).to_contain_text("重复")
    expect(wrong.locator("[name=name]")).to_have_value(name)
    expect(page.locator("[name=contact]")).to_have_value("林晓岚")
    expect(page.locator("#industry + .ts-wrapper")).to_contain_text("行业")


def test_a_wrong_password_keeps_the_name_and_says_so(open_page: OpenPage, system: System) -> None:
    page = open_page()
    page.goto(f"{system.url}/merchantview/list/")
    expect(page.locator("[role=status]")).to_contain_text("请先登录")
    page.fill("[name=username]", "nobody")
    page.fill("[name=password]", "wrong password")
    page.click("button[type=submit]")
    expect(page.locator("[role=alert]")).to_have_text("用户名或密码不正确")
    expect(page.locator("[name=username]")).to_have_value("nobody")


def test_no_page_scrolls_sideways_on_a_phone(
    open_page: OpenPage, page: Page, system: System, shop: int, launched: str
) -> None:
    phone = open_page(width=375, height=740)
    steps.log_in(phone, system)
    menu = [link.get_attribute("href") or "" for link in phone.locator(".side a").all()]
    assert len(menu) > 15
    page.goto(f"{system.url}/miniprogramview/list/?q={launched}")
    row = page.locator(".list-grid tbody td.n a").get_attribute("href") or ""
    pages = [
        *menu,
        "/merchantview/add",
        f"/merchantview/show/{shop}",
        row,
        f"/loginas/{shop}",
        f"/staff/add?merchant={shop}",
        f"/authorizationview/add?merchant={shop}",
        "/operationrunview/show/1",
        f"/operate/upload_code?ids={steps.number_in(row)}",
        "/nowhere",
    ]
    wrong = {}
    for path in pages:
        phone.goto(system.url + path if path.startswith("/") else path)
        if found := steps.too_wide(phone):
            wrong[path] = found
    assert not wrong
