"""The client token of a mini-program, which capability calls want (not in the contract's files)."""

from __future__ import annotations

from .calls import Call, Fields, handles
from .contract import Contract, Credential, Operation, Style
from .errors import Fault
from .simulation import LIFETIME
from .state import Kind

_TEXT = {"type": "string"}
_FIELDS = ("client_key", "client_secret", "grant_type")
_BAD_PARAMETER = 10002
_WRONG_KEY = 10013

OPERATION = Operation(
    id="get_client_token",
    method="POST",
    path="/oauth/client_token/",
    core=True,
    credential=Credential.NONE,
    style=Style.OAUTH,
    permission=0,
    query={},
    body={"type": "object", "properties": dict.fromkeys(_FIELDS, _TEXT), "required": list(_FIELDS)},
    body_type="application/json",
    codes={_BAD_PARAMETER: "参数错误", _WRONG_KEY: "client_key 或者 client_secret 报错"},
    sample=b"",
    media="application/json",
)


def register(contract: Contract) -> None:
    contract.routes[OPERATION.method, OPERATION.path.rstrip("/")] = OPERATION
    contract.by_id[OPERATION.id] = OPERATION


@handles(OPERATION.id)
def client_token(call: Call) -> Fields:
    """client_key is the merchant's appid, client_secret its V2 authorizer token; needs 开发管理权限."""
    body, platform = call.body, call.platform
    if body["grant_type"] != "client_credential":
        raise Fault(_BAD_PARAMETER)
    token = platform.alive(body["client_secret"], Kind.AUTHORIZER_V2)
    app = platform.app(body["client_key"])
    if token is None or app is None or token.appid != app.appid or app.authorized_to != token.thirdparty:
        raise Fault(_WRONG_KEY)
    if 1 not in app.permissions:
        raise Fault(28001018)
    text = platform.issue(Kind.CLIENT, token.thirdparty, appid=app.appid)
    data = {"access_token": text, "expires_in": LIFETIME[Kind.CLIENT], "error_code": 0, "description": ""}
    return {"data": data, "message": "success"}
