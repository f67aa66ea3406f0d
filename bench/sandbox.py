"""Requests a second that the sandbox answers on one core: python bench/sandbox.py [seconds]."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMPONENT = "ttsandbox000000001"
SECRET = "sandbox-component-secret-0001"
CLIENTS = 4


def main(seconds: float) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    pinned = ["taskset", "-c", "0"] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    command = [*pinned, sys.executable, "-m", "sandbox", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        process.stdout.readline()
        _keep_off_core_zero(bool(pinned))
        _measure_all(port, seconds, pinned=bool(pinned))
        print(f"memory (peak)         {_peak(process.pid):8.0f} MB")
    finally:
        process.terminate()
        process.wait(timeout=10)
    return 0


def _keep_off_core_zero(pinned: bool) -> None:
    if pinned:
        os.sched_setaffinity(0, set(range(1, os.cpu_count() or 2)))


def _measure_all(port: int, seconds: float, *, pinned: bool) -> None:
    token, appid, template = _prepare(port)
    ext = json.dumps({"extEnable": True, "extAppid": appid})
    upload = {"template_id": template, "user_version": "1.0.0", "user_desc": "bench", "ext_json": ext}
    calls = {
        "get_versions": _request("GET", "/api/apps/v1/package_version/versions/", token),
        "upload_code": _request("POST", "/api/apps/v1/package_version/upload/", token, upload),
        "refused (bad token)": _request("GET", "/api/apps/v1/package_version/versions/", "isvact.bad"),
    }
    where = "one core (taskset)" if pinned else "not pinned"
    print(f"sandbox, {where}, {CLIENTS} keep-alive clients, {seconds:g} s each")
    for name, raw in calls.items():
        print(f"{name:20s} {_rate(port, raw, seconds):9.0f} requests/s")


def _post(port: int, path: str, body: dict[str, Any], token: str = "") -> Any:
    headers = {"Content-Type": "application/json", "access-token": token}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _get(port: int, path: str, token: str = "") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"access-token": token})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _prepare(port: int) -> tuple[str, str, int]:
    """Ticket, component token, consent, authorizer token, one uploaded version."""
    ticket = _post(port, "/_sandbox/api/ticket", {})["tickets"][COMPONENT]
    query = f"component_appid={COMPONENT}&component_appsecret={SECRET}&component_ticket={ticket}"
    component = _get(port, f"/openapi/v2/auth/tp/token/?{query}")["component_access_token"]
    appid = _post(port, "/_sandbox/api/apps", {"authorized_to": COMPONENT})["apps"][0]["appid"]
    body = {"authorization_appid": appid}
    code = _post(port, "/api/tpapp/v2/auth/retrieve_auth_code/", body, component)["data"]["authorization_code"]
    query = f"grant_type=app_to_tp_authorization_code&authorization_code={code}"
    token = _get(port, f"/api/tpapp/v2/auth/get_auth_token/?{query}", component)["data"]["authorizer_access_token"]
    listed = _get(port, "/api/tpapp/v2/template/get_tpl_list/", component)["data"]["template_list"]
    return token, appid, listed[0]["template_id"]


def _request(method: str, path: str, token: str, body: dict[str, Any] | None = None) -> bytes:
    raw = json.dumps(body).encode() if body else b""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"access-token: {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(raw)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def _rate(port: int, raw: bytes, seconds: float) -> float:
    counts = [0] * CLIENTS
    started = time.monotonic()
    threads = [
        threading.Thread(target=_client, args=(port, raw, started + seconds, counts, number))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - started)


def _client(port: int, raw: bytes, until: float, counts: list[int], number: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        stream = connection.makefile("rb")
        while time.monotonic() < until:
            connection.sendall(raw)
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            stream.read(length)
            counts[number] += 1


def _peak(pid: int) -> float:
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return 0.0
    return int(path.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0))
