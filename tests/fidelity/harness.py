"""Starts a sandbox as its own process and speaks with it over HTTP; shares no code with sandbox or client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from tests.waiting import free_port

ROOT = Path(__file__).resolve().parents[2]
COMPONENT = "ttsandbox000000001"
SECRET = "sandbox-component-secret-0001"  # noqa: S105 - the sandbox's published one
AUTH_DOMAIN = "admin.example.com"
REDIRECT = f"https://{AUTH_DOMAIN}/douyin/authorized/abc"
Row = dict[str, Any]


class Sandbox:
    """A running sandbox, its control API and the platform's calls as a caller would make them."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.seed = 1
        self.base = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "sandbox", "--port", str(self.port), *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.http = requests.Session()
        self.http.trust_env = False
        self._wait()

    def _wait(self) -> None:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if "ready" not in line:
            raise RuntimeError(self.process.communicate(timeout=5)[1])

    def stop(self) -> int:
        self.http.close()
        self.process.terminate()
        self.process.communicate(timeout=10)
        return self.process.returncode

    # control

    def control(self, action: str, **body: Any) -> Row:
        answer = self.http.post(f"{self.base}/_sandbox/api/{action}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        found: Row = answer.json()
        return found

    def read(self, name: str, **query: Any) -> Row:
        found: Row = self.http.get(f"{self.base}/_sandbox/api/{name}", params=query, timeout=10).json()
        return found

    def reset(self) -> None:
        """Another seed each time: what a former test still has under way cannot be taken for this one's."""
        self.seed += 1
        self.control("reset", seed=self.seed)
        self.control("settings", audit_seconds=20)

    def journal(self, since: int = 0) -> list[Row]:
        rows: list[Row] = self.read("journal", since=since)["rows"]
        return rows

    def shop(self, **fields: Any) -> str:
        """A new mini-program that may be authorised."""
        found: str = self.control("apps", count=1, **fields)["apps"][0]["appid"]
        return found

    # platform

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        arguments.setdefault("timeout", 10)
        return self.http.request(method, self.base + path, **arguments).json()

    def get(self, path: str, token: str = "", **query: Any) -> Any:
        return self.call("GET", path, params=query, headers=_header(token))

    def post(self, path: str, token: str = "", body: Any = None, **query: Any) -> Any:
        return self.call("POST", path, params=query, json=body, headers=_header(token))


def _header(token: str) -> dict[str, str]:
    return {"access-token": token} if token else {}


class Provider:
    """A third-party app with its ticket and tokens: what a console holds."""

    def __init__(self, sandbox: Sandbox, *, ticket: str, appid: str = COMPONENT, secret: str = SECRET) -> None:
        self.sandbox = sandbox
        self.appid = appid
        self.secret = secret
        self.ticket = ticket
        self.v2 = self.component("/openapi/v2/auth/tp/token/")
        self.v1 = self.component("/openapi/v1/auth/tp/token")

    def component(self, path: str) -> str:
        answer = self.sandbox.get(
            path, component_appid=self.appid, component_appsecret=self.secret, component_ticket=self.ticket
        )
        token: str = answer["component_access_token"]
        return token

    def old(self, **more: Any) -> Row:
        """The query of a V1 call of the third-party app."""
        return {"component_appid": self.appid, "component_access_token": self.v1, **more}

    def link(self, **fields: Any) -> str:
        body = {"link_type": 1, **fields}
        answer = self.sandbox.post("/api/tpapp/v3/auth/gen_link/", self.v2, body)
        link: str = answer["data"]["link"]
        return link

    def code(self, appid: str, permissions: tuple[int, ...] = (1, 2, 3)) -> str:
        """The merchant consents; the code as the redirect would carry it."""
        self.sandbox.control("thirdparty", appid=self.appid, auth_domain=AUTH_DOMAIN)
        url = self.sandbox.control(
            "consent", link=self.link(redirect_uri=REDIRECT), appid=appid, permissions=list(permissions)
        )["redirect_url"]
        code: str = parse_qs(urlsplit(url).query)["authorization_code"][0]
        return code

    def exchange(self, code: str) -> Row:
        answer = self.sandbox.get(
            "/api/tpapp/v2/auth/get_auth_token/",
            self.v2,
            grant_type="app_to_tp_authorization_code",
            authorization_code=code,
        )
        data: Row = answer["data"]
        return data

    def exchange_v1(self, code: str) -> Row:
        query = self.old(grant_type="app_to_tp_authorization_code", authorization_code=code)
        found: Row = self.sandbox.get("/openapi/v1/oauth/token", **query)
        return found

    def merchant(self, appid: str = "", permissions: tuple[int, ...] = (1, 2, 3)) -> Merchant:
        appid = appid or self.sandbox.shop()
        return Merchant(self, appid, permissions)

    def template(self) -> int:
        answer = self.sandbox.get("/api/tpapp/v2/template/get_tpl_list/", self.v2)
        number: int = answer["data"]["template_list"][0]["template_id"]
        return number

    def material(self, kind: int) -> str:
        answer = self.sandbox.call(
            "POST",
            "/api/tpapp/v2/file/upload_material/",
            headers={"access-token": self.v2},
            data={"material_type": str(kind)},
            files={"material_file": ("a.png", b"\x89PNG\r\n\x1a\nx", "image/png")},
        )
        path: str = answer["data"]["path"]
        return path


class Merchant:
    """An authorised mini-program with the tokens of both generations."""

    def __init__(self, provider: Provider, appid: str, permissions: tuple[int, ...]) -> None:
        self.provider = provider
        self.sandbox = provider.sandbox
        self.appid = appid
        pair = provider.exchange(provider.code(appid, permissions))
        self.v2: str = pair["authorizer_access_token"]
        self.refresh_v2: str = pair["authorizer_refresh_token"]
        old = provider.exchange_v1(self.retrieve())
        self.v1: str = old["authorizer_access_token"]
        self.refresh_v1: str = old["authorizer_refresh_token"]

    def retrieve(self) -> str:
        answer = self.sandbox.post(
            "/api/tpapp/v2/auth/retrieve_auth_code/", self.provider.v2, {"authorization_appid": self.appid}
        )
        code: str = answer["data"]["authorization_code"]
        return code

    def old(self, **more: Any) -> Row:
        """The query of a V1 call for this mini-program."""
        return {"component_appid": self.provider.appid, "authorizer_access_token": self.v1, **more}

    def client_token(self) -> str:
        body = {"client_key": self.appid, "client_secret": self.v2, "grant_type": "client_credential"}
        answer = self.sandbox.post("/oauth/client_token/", body=body)
        token: str = answer["data"]["access_token"]
        return token

    def upload_body(self, version: str = "1.0.0", **more: Any) -> Row:
        ext = json.dumps({"extEnable": True, "extAppid": self.appid, "ext": {"shop_id": "8"}})
        body = {
            "template_id": self.provider.template(),
            "user_version": version,
            "user_desc": "说明",
            "ext_json": ext,
        }
        return {**body, **more}

    def upload(self, version: str = "1.0.0", **more: Any) -> Any:
        body = self.upload_body(version, **more)
        return self.sandbox.post("/api/apps/v1/package_version/upload/", self.v2, body)

    def submit(self, **more: Any) -> Any:
        body = {"host_names": ["douyin"], **more}
        return self.sandbox.post("/api/apps/v2/package_version/audit/", self.v2, body)

    def decide(self, verdict: Any = "approve", reason: str = "") -> None:
        self.sandbox.control("audit", appid=self.appid, verdict=verdict, reason=reason)

    def revoke_audit(self) -> Any:
        return self.sandbox.post("/api/apps/v1/package_version/revoke_audit/", self.v2)

    def release(self) -> Any:
        return self.sandbox.post("/api/apps/v1/package_version/release/", self.v2)

    def rollback(self) -> Any:
        return self.sandbox.post("/api/apps/v1/package_version/rollback/", self.v2)

    def versions(self) -> Row:
        answer = self.sandbox.get("/api/apps/v1/package_version/versions/", self.v2)
        data: Row = answer["data"]
        return data

    def publish(self, version: str = "1.0.0") -> None:
        """Upload, submit, pass, release; the clock moves past the pause between submits."""
        for answer in (self.upload(version), self.submit()):
            assert answer["err_no"] == 0, answer
        self.decide()
        answer = self.release()
        assert answer["err_no"] == 0, answer
        self.sandbox.control("advance", seconds=11)

    def effects(self) -> Row:
        found: Row = self.sandbox.read("effects", appid=self.appid)[self.appid]
        return found
