"""Django's admin over the tables of `bench.console`: settings, addresses and three lists like ours, in one module."""

from __future__ import annotations

import importlib
from typing import Any

import django
from django.conf import settings

STAFF = "bench"
WORDS = {
    "state": (("pending", "待授权"), ("authorized", "已授权"), ("cleared", "已清除"), ("revoked", "商户已取消")),
    "merchant": (("active", "正常"), ("suspended", "停用")),
    "version": (
        ("uploaded", "已上传"),
        ("auditing", "审核中"),
        ("approved", "审核通过"),
        ("rejected", "审核驳回"),
        ("withdrawn", "已撤回"),
        ("released", "线上版本"),
        ("superseded", "已被取代"),
        ("rolled_back", "已回滚"),
    ),
}


def start(path: str) -> tuple[Any, str]:
    """(its WSGI application, the cookie of a signed-in administrator) over an SQLite file that holds our tables."""
    _configure(path)
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415  (Django is configured first)
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415  (Django is configured first)

    call_command("migrate", verbosity=0)
    globals()["urlpatterns"] = _addresses()
    application = get_wsgi_application()
    return application, _signed_in()


def page_size(size: int) -> None:
    """How many rows a page has from now on; Django's lists take no argument for it."""
    from django.contrib import admin  # noqa: PLC0415  (Django is configured first)

    for held in admin.site._registry.values():
        held.list_per_page = size


def _configure(path: str) -> None:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="for the benchmark only, nothing is kept",
        ALLOWED_HOSTS=["127.0.0.1", "localhost", "testserver"],
        ROOT_URLCONF="bench.console_django",
        LANGUAGE_CODE="zh-hans",
        TIME_ZONE="Asia/Shanghai",
        USE_TZ=True,
        STATIC_URL="/static/",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "CONN_MAX_AGE": None}},
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "bench",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )


def _addresses() -> list[Any]:
    from django.contrib import admin  # noqa: PLC0415  (Django is configured first)
    from django.urls import path  # noqa: PLC0415  (Django is configured first)

    for model, shown in zip(_models(), _lists(admin), strict=True):
        admin.site.register(model, shown)
    return [path("admin/", admin.site.urls)]


def _models() -> tuple[Any, Any, Any]:
    """The tables as Django sees them: the columns its lists show, and the wide ones that ours have too."""
    models = importlib.import_module("django.db.models")

    def table(name: str, title: str, db_table: str, /, **fields: Any) -> Any:
        meta = type(
            "Meta",
            (),
            {
                "managed": False,
                "db_table": db_table,
                "app_label": "bench",
                "verbose_name_plural": title,
            },
        )
        shown = {"__str__": lambda self: getattr(self, "name", None) or self.number}
        return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **shown, **fields})

    text, when = models.CharField, models.DateTimeField
    industry = table("Industry", "行业", "industry", name=text(max_length=64))
    merchant = table(
        "Merchant",
        "商户",
        "merchant",
        name=text("商户名称", max_length=64),
        key=text(max_length=20),
        industry=models.ForeignKey(industry, models.PROTECT, verbose_name="行业"),
        contact=text("联系人", max_length=32),
        phone_masked=text("手机号", max_length=20),
        plan=text("套餐", max_length=32),
        expires_on=models.DateField("套餐到期日"),
        state=text("状态", max_length=32, choices=WORDS["merchant"]),
        subject_type=text(max_length=32),
        remarks=models.TextField(),
        created_at=when("创建时间"),
    )
    mini_program = table(
        "MiniProgram",
        "小程序",
        "mini_program",
        merchant=models.ForeignKey(merchant, models.PROTECT, verbose_name="商户"),
        appid=text(max_length=64),
        name=text("小程序", max_length=64),
        subject_name=text(max_length=128),
        info=models.JSONField(),
        state=text("授权", max_length=32, choices=WORDS["state"]),
        permissions=models.JSONField(),
        refresh_expires_at=when("授权有效期"),
        token_fault=text(max_length=255),
        uploaded_version=text("测试版本", max_length=32),
        audit_version=text("审核版本", max_length=32),
        audit_state=text("审核状态", max_length=32, choices=WORDS["version"]),
        live_version=text("线上版本", max_length=32),
        remarks=models.TextField(),
    )
    version = table(
        "Version",
        "版本",
        "version",
        mini_program=models.ForeignKey(mini_program, models.PROTECT, verbose_name="小程序"),
        number=text("版本号", max_length=32),
        description=text(max_length=500),
        ext_json=models.TextField(),
        state=text("状态", max_length=32, choices=WORDS["version"]),
        uploaded_at=when("上传时间"),
        submitted_at=when("提审时间"),
        released_at=when("上线时间"),
        reason=models.TextField("驳回原因"),
        reason_detail=models.JSONField(),
    )
    return merchant, mini_program, version


def _lists(admin: Any) -> tuple[Any, Any, Any]:
    class Merchants(admin.ModelAdmin):  # type: ignore[misc]
        list_display = (
            "name",
            "industry",
            "contact",
            "phone_masked",
            "plan",
            "expires_on",
            "state",
            "created_at",
        )
        list_select_related = ("industry",)
        list_filter = ("industry", "state")
        search_fields = ("name", "contact", "key")
        ordering = ("-created_at", "-id")
        list_per_page = 25

    class MiniPrograms(admin.ModelAdmin):  # type: ignore[misc]
        list_display = (
            "name",
            "appid",
            "merchant",
            "state",
            "uploaded_version",
            "audit_version",
            "audit_state",
            "live_version",
            "refresh_expires_at",
            "permissions",
        )
        list_select_related = ("merchant",)
        list_filter = ("state", "audit_state")
        search_fields = ("name", "appid", "subject_name")
        ordering = ("-id",)
        list_per_page = 25

    class Versions(admin.ModelAdmin):  # type: ignore[misc]
        list_display = (
            "number",
            "mini_program",
            "merchant",
            "state",
            "reason",
            "submitted_at",
            "released_at",
            "uploaded_at",
        )
        list_select_related = ("mini_program__merchant",)
        list_filter = ("state",)
        search_fields = ("number", "description", "reason")
        ordering = ("-uploaded_at", "-id")
        list_per_page = 25

        @admin.display(description="商户")
        def merchant(self, row: Any) -> str:
            return str(row.mini_program.merchant)

    return Merchants, MiniPrograms, Versions


def _signed_in() -> str:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  (Django is configured first)
    from django.test import Client  # noqa: PLC0415  (Django is configured first)

    user = get_user_model().objects.create_superuser(STAFF, "", "bench")
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}"
