"""The first mini-programs, templates and drafts: the same for the same seed."""

from __future__ import annotations

from typing import Any

from .simulation import Platform
from .state import (
    DEFAULT_AES_KEY,
    DEFAULT_APPID,
    DEFAULT_SECRET,
    DEFAULT_TOKEN,
    App,
    Draft,
    Subject,
    Template,
    ThirdParty,
)
from .templates import new_template_id

_BEYOND_JAVASCRIPT = 9_107_199_254_740_993
_SHOPS = (
    ("晨光书店", "线上选书、到店自提，每周更新书单", 0, "杭州晨光图书有限公司"),
    ("老街麻辣烫", "现煮麻辣烫，扫码点单免排队", 1, "成都老街餐饮管理有限公司"),
    ("青禾装修", "全屋整装，免费量房与报价", 2, "苏州青禾装饰工程有限公司"),
    ("小鹿亲子摄影", "儿童写真与全家福，在线选片", 3, "南京小鹿文化传媒有限公司"),
    ("云朵瑜伽馆", "小班瑜伽约课，新人首课体验", 4, "上海云朵健身服务有限公司"),
    ("江南茶舍", "明前龙井与茶具，送礼定制", 5, "杭州江南茶业有限公司"),
    ("优洁家政", "保洁、月嫂、家电清洗一键预约", 6, "武汉优洁家政服务有限公司"),
    ("好邻居水果", "当季鲜果，三公里内半小时达", 5, "郑州好邻居商贸有限公司"),
    ("星辰口腔", "洗牙、正畸、种植牙在线预约", 7, "广州星辰口腔门诊部有限公司"),
    ("木子花艺", "鲜花订阅与婚礼花艺", 5, "昆明木子花艺有限公司"),
    ("速修手机维修", "手机换屏换电池，上门快修", 6, "深圳速修科技有限公司"),
    ("阿华的手作铺", "手工皮具与课程", 5, "陈阿华"),
)
_CATEGORIES = (
    ("商业-零售-图书", "501,512,530"),
    ("餐饮-餐饮服务-点餐", "301,310,318"),
    ("房地产-房地产-装修/建材", "601,612,630"),
    ("生活服务-摄影-写真", "401,411,420"),
    ("体育-健身-瑜伽", "701,705,709"),
    ("商业-零售-综合电商", "501,512,531"),
    ("生活服务-家政-上门服务", "401,415,422"),
    ("医疗-医疗服务-口腔", "801,806,812"),
)
_AREAS = ("城东", "西湖", "滨江", "南山", "天河", "武侯", "鼓楼", "雨花", "江北", "大学城", "新区", "老城")
_TRADES = ("烘焙坊", "理发店", "火锅店", "花店", "健身房", "宠物店", "咖啡馆", "汽修厂", "美甲店", "便利店")


def new_app(platform: Platform, number: int, *, appid: str = "", **fields: Any) -> App:
    """A mini-program; name and category follow from `number` unless given."""
    name = f"{_AREAS[number % 12]}{_TRADES[number // 12 % 10]}"
    name = fields.pop("name", None) or (name if number < 120 else f"{name}{number}号店")
    category, ids = _CATEGORIES[number % len(_CATEGORIES)]
    fields.setdefault("intro", f"{name}，在线预约与优惠")
    fields.setdefault("icon", f"/_sandbox/static/icon-{number % 60}.png")
    fields.setdefault("subject_name", f"{name}（个体工商户）")
    fields.setdefault("categories", [category])
    fields.setdefault("category_ids", [ids])
    key = appid or f"tt{platform.draw('appid').hex()[:16]}"
    app = platform.world.apps[key] = App(key, name, **fields)
    platform.changed = True
    return app


def new_thirdparty(platform: Platform, appid: str, **fields: Any) -> ThirdParty:
    """A third-party app with two template mini-programs, a draft in each, and two templates."""
    owner = platform.world.thirdparties[appid] = ThirdParty(appid, **fields)
    now = int(platform.now())
    for number, (name, version) in enumerate((("门店模板", "1.0.3"), ("电商模板", "2.1.0"))):
        app = new_app(platform, number, name=name, template_of=appid, subject_name="抖舟服务商")
        draft_id = _BEYOND_JAVASCRIPT + platform.number("draft", digits=9) if number else 1001
        app.draft = Draft(draft_id, version, f"{name} {version}：首页改版", now - 86_400)
        owner.template_apps.append(app.appid)
    for number, (version, text) in enumerate((("1.0.2", "门店模板首版"), ("2.0.0", "电商模板首版"))):
        template_id = new_template_id(platform, big=bool(number))
        owner.templates.append(Template(template_id, version, text, now - 172_800))
    return owner


def populate(platform: Platform) -> None:
    """The default third-party app and twelve shops that nobody manages yet."""
    new_thirdparty(platform, DEFAULT_APPID, secret=DEFAULT_SECRET, token=DEFAULT_TOKEN, aes_key=DEFAULT_AES_KEY)
    special: dict[int, dict[str, Any]] = {
        8: {"subject": Subject.UNVERIFIED},
        9: {"categories": [], "category_ids": []},
        10: {"banned": True},
        11: {"personal": True},
    }
    for number, (name, intro, category, company) in enumerate(_SHOPS):
        label, ids = _CATEGORIES[category]
        fields = {"categories": [label], "category_ids": [ids], **special.get(number, {})}
        new_app(platform, number, name=name, intro=intro, subject_name=company, **fields)
