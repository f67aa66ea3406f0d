"""The platform's error codes: what each means, who has to act, whether waiting helps, what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import DouyinError, ErrorKind
from app.i18n.sentence import ours, say
from app.redaction import redact

PARAMETER, STATE, AUTHORIZATION = ErrorKind.PARAMETER, ErrorKind.STATE, ErrorKind.AUTHORIZATION
TOKEN, RATE, QUOTA, PLATFORM = ErrorKind.TOKEN, ErrorKind.RATE, ErrorKind.QUOTA, ErrorKind.PLATFORM
BANNED, SYSTEM, LINK, RETIRED = ErrorKind.BANNED, ErrorKind.SYSTEM, ErrorKind.LINK, ErrorKind.RETIRED
CAPABILITY, PERSON, FAULT = ErrorKind.CAPABILITY, ErrorKind.PERSON, ErrorKind.FAULT

_MESSAGE_LIMIT = 300
_SYSTEM_WAIT = 30.0


@dataclass(frozen=True)
class Code:
    """One row: `retry_after` in seconds, None where sending the same again cannot help."""

    kind: ErrorKind
    meaning: str
    advice: str
    retry_after: float | None = None


_CHECK = "请按提示核对提交的内容，改正后再试。"
_WAIT = "这是抖音方面的临时故障，系统会自动重试；如果一小时后仍然失败，请带上 log_id 联系抖音开放平台客服。"
_TOKEN = "系统会自动换取新的凭据并重试；如果反复出现，请检查授权是否仍然有效。"
_COMPONENT = "系统会自动换取新的第三方应用凭据并重试；如果反复出现，请检查 AppSecret 和 component_ticket 推送是否正常。"
_GRANT = "请让商户重新授权，并勾选本操作需要的权限集；权限集只能增加，要更换须先取消授权再重新授权。"
_REAUTHORIZE = "请先核对该小程序是否仍授权给本第三方应用；如果已解除授权，请让商户重新授权。"
_WHITELIST = (
    "请在第三方应用控制台的 IP 白名单里加上本服务器的出口 IP，保存 3 到 5 分钟后生效；此前它的所有操作都在等待。"
)
_DOMAIN = "请在第三方应用控制台核对授权域名，授权页的入口域名和回调域名都必须与它一致。"
_WEB_DOMAIN = "请核对填写的域名：必须属于第三方应用在控制台登记的域名或其子域名，不能是 IP，不能带端口。"
_SUBJECT = "请商户在抖音开放平台处理主体信息，完成后再试。"
_APPLY = "请商户在抖音开放平台的能力管理里申请本操作需要的能力，通过后再试。"
_OTHER_USER = "只与该用户有关，重试不会成功，其他用户不受影响。"
_QUOTA_ENDS = "配额在北京时间每天 8 点恢复，请到时再试，或向抖音申请提高配额。"
_WEBHOOK = "请核对 webhook 设置后再试。"

CODES: dict[int, Code] = {
    -1: Code(SYSTEM, "系统错误", _WAIT, _SYSTEM_WAIT),
    # 1 to 4 are the whole list of the older image check, which counts by itself.
    1: Code(PARAMETER, "图片检测：参数错误", "请核对图片地址或图片内容，两者至少要有一项。"),
    2: Code(TOKEN, "图片检测：凭据校验失败", _TOKEN),
    3: Code(PARAMETER, "图片检测：图片下载失败", "请确认图片地址可以从公网直接访问，再试一次。"),
    4: Code(SYSTEM, "图片检测：内部错误", _WAIT, _SYSTEM_WAIT),
    10002: Code(PARAMETER, "参数缺失或错误", _CHECK),
    10003: Code(
        STATE,
        "没有找到记录，或没有权限操作",
        "请刷新版本列表，确认存在可以操作的版本，并确认授权包含开发管理权限。",
    ),
    10013: Code(TOKEN, "client_key 或 client_secret 错误", _TOKEN),
    10020: Code(RATE, "换取凭据过于频繁", "系统会自动等待 5 分钟后重试。", 300.0),
    10100: Code(PARAMETER, "小程序 AppID 错误", "请核对小程序的 AppID，并确认它仍授权给本第三方应用。"),
    10104: Code(
        BANNED,
        "主体被封禁",
        "该主体名下的小程序都不能认证、提审或发布，请商户登录抖音开放平台查看封禁原因并申诉。",
    ),
    10105: Code(STATE, "主体信息审核中", "主体信息审核通过之前不能发布，请等审核结束后再试。"),
    10106: Code(STATE, "主体信息审核未通过", _SUBJECT),
    10107: Code(BANNED, "小程序被封禁", "请商户登录抖音开放平台查看封禁原因，整改并申诉成功后再操作。"),
    10108: Code(
        STATE,
        "该小程序是模板开发小程序，不能提审或发布",
        "请换成商户授权的小程序，模板小程序只用来产生模板。",
    ),
    10109: Code(STATE, "名称因长期未提交版本被重置", "请先为小程序重新设置名称，审核通过后再提审或发布。"),
    11009: Code(PARAMETER, "参数缺失或错误", _CHECK),
    11016: Code(TOKEN, "凭据已失效", _TOKEN),
    11300: Code(SYSTEM, "提审失败，请稍后再试", _WAIT, _SYSTEM_WAIT),
    11301: Code(RATE, "提审过于频繁", "两次提审之间至少间隔 10 秒，系统会自动等待后重试。", 10.0),
    11302: Code(STATE, "没有可提审的测试版本", "请先上传代码再提审；如果选择了重新提审，请确认上一次确实审核未通过。"),
    11303: Code(STATE, "已有版本在审核中", "同一时间只能有一个版本在审核，请等审核结束，或先撤回审核再提审。"),
    11305: Code(STATE, "主体认证未完成", "请商户先在抖音开放平台完成主体认证，再提审。"),
    11306: Code(
        STATE,
        "名称、简介、图标或服务类目不完整",
        "请先把名称、简介、图标和服务类目补充完整并等审核通过，再提审。",
    ),
    11307: Code(PARAMETER, "提审的宿主端不允许", "请只选择可选审核宿主端列表里的宿主端，再提审。"),
    11400: Code(SYSTEM, "发布失败，请稍后再试", _WAIT, _SYSTEM_WAIT),
    11401: Code(STATE, "小程序近期被下架，不能发布该版本", "请按下架原因修改后上传并提审新版本，审核通过后再发布。"),
    11402: Code(STATE, "没有审核通过的版本", "请先提审并等审核通过，再发布。"),
    11403: Code(STATE, "版本还在审核中", "请等审核结束后再发布。"),
    11500: Code(SYSTEM, "回退失败，请稍后再试", _WAIT, _SYSTEM_WAIT),
    11501: Code(RATE, "回退过于频繁", "两次回退之间至少间隔 10 分钟，系统会自动等待后重试。", 600.0),
    11600: Code(SYSTEM, "撤回审核失败，请稍后再试", _WAIT, _SYSTEM_WAIT),
    11601: Code(STATE, "审核已经撤回", "不需要再操作，请刷新版本列表查看最新状态。"),
    11602: Code(STATE, "审核正在处理中，不能撤回", "审核员已经开始处理，请等审核结果出来。"),
    11603: Code(STATE, "审核已经结束，不能撤回", "请刷新版本列表查看审核结果。"),
    15001: Code(PARAMETER, "回调地址错误", "请确认回调地址可以从公网访问，并且正确返回校验的 challenge。"),
    15002: Code(STATE, "回调地址为空", "请先保存 webhook 回调地址，再订阅事件。"),
    15003: Code(PARAMETER, "事件为空", _WEBHOOK),
    15004: Code(PARAMETER, "事件不存在或不允许订阅", _WEBHOOK),
    15005: Code(PARAMETER, "事件状态错误", _WEBHOOK),
    15006: Code(STATE, "webhook 密钥为空", "请先启用 webhook 密钥，再设置回调地址和事件。"),
    20000: Code(SYSTEM, "系统错误", _WAIT, _SYSTEM_WAIT),
    40000: Code(SYSTEM, "系统错误", _WAIT, _SYSTEM_WAIT),
    40001: Code(PARAMETER, "参数错误", _CHECK),
    40002: Code(PARAMETER, "缺少参数", _CHECK),
    40003: Code(PLATFORM, "第三方应用不存在", "请核对第三方应用的 AppID 和 AppSecret，所有小程序都受影响。"),
    40004: Code(AUTHORIZATION, "授权小程序不存在", _REAUTHORIZE),
    40005: Code(AUTHORIZATION, "没有用户登录", "请用管理员账号登录抖音开放平台，再打开授权页。"),
    40006: Code(PLATFORM, "调用方 IP 不在白名单", _WHITELIST),
    40007: Code(PLATFORM, "无法识别调用方 IP", _WHITELIST),
    40008: Code(AUTHORIZATION, "当前用户不允许操作", "请换小程序的管理员账号操作。"),
    40009: Code(TOKEN, "第三方应用凭据已过期", _COMPONENT),
    40010: Code(TOKEN, "第三方应用凭据错误", _COMPONENT),
    40011: Code(LINK, "没有设置授权域名", "请在第三方应用控制台设置授权域名，再发起授权。"),
    40012: Code(STATE, "预授权码已过期", "请重新生成授权链接，再请商户打开。"),
    40013: Code(LINK, "回调域名无法解析", _DOMAIN),
    40014: Code(LINK, "必须从授权域名的页面进入授权页", _DOMAIN),
    40015: Code(LINK, "授权域名无法解析", _DOMAIN),
    40016: Code(LINK, "入口域名、回调域名与授权域名不一致", _DOMAIN),
    40017: Code(LINK, "入口域名无法解析", _DOMAIN),
    40018: Code(
        AUTHORIZATION,
        "授权码已过期或已使用",
        "授权码只能用一次；如果小程序已经在列表里，不用处理，否则请重新授权。",
    ),
    40019: Code(AUTHORIZATION, "小程序是开发小程序，或已经授权", "请先在抖音开放平台解除原来的授权，再重新授权。"),
    40020: Code(TOKEN, "授权小程序凭据错误或已过期", _TOKEN),
    40021: Code(AUTHORIZATION, "刷新凭据错误或已过期", "系统会找回授权码来恢复；如果恢复失败，请让商户重新授权。"),
    40022: Code(AUTHORIZATION, "该小程序没有授权给本第三方应用", _REAUTHORIZE),
    40023: Code(PARAMETER, "域名不属于第三方应用的域名", _WEB_DOMAIN),
    40024: Code(QUOTA, "域名数量超过上限", "请先删除不用的域名，再添加新的。"),
    40025: Code(STATE, "个人主体不能设置 webview 域名", "webview 域名只对企业主体开放，请商户升级主体后再设置。"),
    40026: Code(PARAMETER, "没有填写域名，或域名已经存在", "请刷新域名列表：已经存在的域名不用重复添加。"),
    40027: Code(PARAMETER, "域名不能是 IP，也不能带端口", _WEB_DOMAIN),
    40028: Code(PARAMETER, "要删除的域名不存在", "请刷新域名列表，再选择要删除的域名。"),
    40029: Code(PARAMETER, "模板不存在", "请同步模板列表，换一个仍然存在的模板再上传。"),
    40033: Code(PARAMETER, "素材路径无法解析", "请重新上传图片，用新返回的路径提交。"),
    40034: Code(PARAMETER, "草稿不存在", "请重新上传模板小程序的代码，刷新草稿后再添加模板。"),
    40035: Code(QUOTA, "模板数量已达 200 个上限", "请先删除不用的模板，再添加新模板。"),
    40036: Code(AUTHORIZATION, "没有授予本操作需要的权限集", _GRANT),
    40040: Code(PARAMETER, "grant_type 错误", _CHECK),
    40045: Code(SYSTEM, "凭据生成失败，请重试", _WAIT, _SYSTEM_WAIT),
    40059: Code(PARAMETER, "代创建小程序时名称不能为空", "请填写要创建的小程序名称，再生成授权链接。"),
    # The platform's general codes, in their present form and in the older one (2100…, 2190…).
    2100004: Code(SYSTEM, "系统繁忙，请重试", _WAIT, _SYSTEM_WAIT),
    2100005: Code(PARAMETER, "参数缺失或无效", _CHECK),
    2100007: Code(AUTHORIZATION, "没有权限执行本操作", _GRANT),
    2100009: Code(PERSON, "该用户不能使用本接口", _OTHER_USER),
    2190001: Code(QUOTA, "接口配额已用完", _QUOTA_ENDS),
    2190002: Code(TOKEN, "凭据无效", _TOKEN),
    2190004: Code(CAPABILITY, "应用没有获得本操作需要的能力", _APPLY),
    2190008: Code(TOKEN, "凭据已过期", _TOKEN),
    28001003: Code(TOKEN, "凭据无效", _TOKEN),
    28001005: Code(SYSTEM, "系统繁忙，请重试", _WAIT, _SYSTEM_WAIT),
    28001006: Code(SYSTEM, "网络错误，请重试", _WAIT, _SYSTEM_WAIT),
    28001007: Code(PARAMETER, "参数缺失或无效", _CHECK),
    28001008: Code(TOKEN, "凭据已过期", _TOKEN),
    28001012: Code(PERSON, "用户没有授权本操作需要的 scope", "请在小程序里引导该用户重新授权，与商户的授权无关。"),
    28001014: Code(CAPABILITY, "应用没有任何能力", _APPLY),
    28001015: Code(PARAMETER, "凭据与 open_id 不属于同一用户", "请让用户重新登录小程序，用新的 open_id 再试。"),
    28001016: Code(BANNED, "应用被封禁或已下线", "请商户登录抖音开放平台查看原因，恢复之后再操作。"),
    28001017: Code(
        FAULT, "接口地址不存在", "这不是操作有误，是系统用的地址不对，已通知管理员：请升级抖舟或联系开发者。"
    ),
    28001018: Code(CAPABILITY, "没有获得本操作需要的能力或权限", _APPLY),
    28001019: Code(CAPABILITY, "能力被封禁或已下线", "请商户登录抖音开放平台查看该能力的状态，恢复之后再操作。"),
    28001020: Code(STATE, "测试应用没有绑定该用户", "请在抖音开放平台把该用户加为测试应用的测试用户，或改用正式应用。"),
    28001021: Code(STATE, "测试应用已过期", "请在抖音开放平台为测试应用续期，或改用正式应用。"),
    28001038: Code(PARAMETER, "参数错误", _CHECK),
    28001042: Code(AUTHORIZATION, "授权凭据缺少所需的 scope", _GRANT),
    28001045: Code(PERSON, "用户已注销", _OTHER_USER),
    28001046: Code(PERSON, "用户被封禁", _OTHER_USER),
    28001047: Code(PERSON, "用户是私密账号", _OTHER_USER),
    28001052: Code(RATE, "触发抖音风控", "系统会放慢所有调用，10 分钟后自动重试，请不要重复提交。", 600.0),
    28001056: Code(RETIRED, "接口已经下线", "抖音已停用这个接口，请升级抖舟或联系开发者。"),
    28003017: Code(QUOTA, "接口配额已用完", _QUOTA_ENDS),
    28003018: Code(RATE, "调用过于频繁", "系统会放慢所有调用并自动重试，请稍候。", 60.0),
    28004020: Code(LINK, "授权场景不支持所请求的 scope", "请去掉该授权场景不支持的权限，再生成授权链接。"),
    28005079: Code(PLATFORM, "调用方 IP 不在白名单", _WHITELIST),
}

# After these everything is sent more slowly for a while, by every process.
TOO_FAST = frozenset({28001052, 28003018})

_UNKNOWN = Code(
    ErrorKind.UNKNOWN,
    "抖音返回了未登记的错误",
    "请根据抖音返回的说明处理；不清楚时请带上 log_id 联系抖音开放平台客服。",
)
_OWN_SETTINGS = (
    "请核对第三方应用的 AppID、AppSecret 是否填写正确，并确认 component_ticket 推送正常；此前所有小程序都受影响。"
)


def explain(err_no: int, message: str, log_id: str, *, about_platform: bool = False) -> DouyinError:
    """The error to raise for a code; `about_platform`: the refused parameters are our own app's settings."""
    code = CODES.get(err_no, _UNKNOWN)
    kind, advice = code.kind, code.advice
    if about_platform and kind in {PARAMETER, ErrorKind.UNKNOWN}:
        kind, advice = PLATFORM, _OWN_SETTINGS
    said = clean(message)
    text = say("{meaning}（{said}）", meaning=ours(code.meaning), said=said) if said else ours(code.meaning)
    return DouyinError(text, err_no=err_no, kind=kind, advice=advice, log_id=log_id, retry_after=code.retry_after)


def too_many(retry_after: float, log_id: str) -> DouyinError:
    """The error for HTTP 429: the gateway refused before the request was looked at."""
    return DouyinError(
        say("调用过于频繁（HTTP 429）"),
        err_no=429,
        kind=RATE,
        advice=CODES[28003018].advice,
        log_id=log_id,
        retry_after=retry_after,
    )


def misfit(what: str, log_id: str) -> DouyinError:
    """The error for a read whose answer does not fit the contract."""
    return DouyinError(
        say("抖音的答复不合接口约定：{what}", what=ours(what)),
        err_no=0,
        kind=ErrorKind.ANSWER,
        advice="系统会稍后重试；如果一直出现，说明接口有变动，请升级抖舟或联系开发者。",
        log_id=log_id,
        retry_after=_SYSTEM_WAIT,
    )


def clean(text: str) -> str:
    """Foreign text made fit to show, log and store: masked, without control characters, at most 300 long."""
    masked = redact(text[: _MESSAGE_LIMIT * 4])
    return "".join(letter if letter.isprintable() else " " for letter in masked).strip()[:_MESSAGE_LIMIT]
