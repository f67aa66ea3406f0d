"""`make demo`: sandbox and console on loopback, with data at the first start; Ctrl-C stops both.

Only the standard library is used before the virtual environment is known to be there.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
READY_SECONDS = 60


def stop(sentence: str) -> None:
    """End with one sentence that says what to do."""
    sys.exit(sentence)


def port_of(name: str, default: int) -> int:
    raw = os.environ.get(name, str(default))
    if not raw.isdigit() or not 1 <= int(raw) <= 65535:
        stop(f"{name} 应为 1 到 65535 的端口号（must be a port number），现在是 {raw!r}。")
    port = int(raw)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            stop(f"端口 {port} 已被占用（port in use）：请换一个，例如 make demo {name}={port + 100}。")
    return port


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def settings(port: int, sandbox_port: int) -> dict[str, str]:
    """The demo's own settings: keys made once and kept under var/, addresses as given now."""
    VAR.mkdir(exist_ok=True)
    path = VAR / "demo.env"
    if not path.exists():
        lines = [f"SECRET_KEY={secrets.token_urlsafe(48)}", f"DATA_KEYS=k1:{new_key()}", f"INDEX_KEY={new_key()}"]
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n")
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    return {
        **{name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}},
        "DOUZHOU_ENV": str(path),
        "DEMO": "1",
        "EMBEDDED": "1",
        "DATABASE_URL": f"sqlite:///{VAR / 'demo.db'}",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BIND": f"127.0.0.1:{port}",
        "WEB_WORKERS": "1",
        "SANDBOX_URL": sandbox,
        "DOUYIN_OPEN_URL": sandbox,
        "DOUYIN_MICROAPP_URL": sandbox,
        "DOUYIN_TOUTIAO_URL": sandbox,
        "PYTHONUNBUFFERED": "1",
    }


def wait_until(url: str, process: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what}没有启动（did not start）：原因见上面的输出。")
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310  (loopback, our own address)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{what}在 {READY_SECONDS} 秒内没有就绪（not ready in time）：请看上面的输出。")


def flask(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "run", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{arguments[0]} 失败")
    return done.stdout.strip()


def start(*command: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A child in a group of its own, so that Ctrl-C reaches it by us alone and in order."""
    return subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=env, start_new_session=True)


def run(port: int, sandbox_port: int, children: list[subprocess.Popen[bytes]]) -> None:
    env = settings(port, sandbox_port)
    children.append(
        start(
            "sandbox", "--port", str(sandbox_port), "--console", env["PUBLIC_URL"], "--state",
            str(VAR / "sandbox.json"), env=env,
        )
    )  # fmt: skip
    flask(env, "setup")
    wait_until(f"{env['SANDBOX_URL']}/_sandbox/api/state", children[0], "沙箱")
    accounts = flask(env, "demo-data", "--sandbox", env["SANDBOX_URL"])
    children.append(start("gunicorn", "-c", "gunicorn.conf.py", "run:app", env=env))
    wait_until(f"{env['PUBLIC_URL']}/healthz", children[1], "控制台")
    print(
        f"\n抖舟演示已就绪（ready）\n  控制台 console  {env['PUBLIC_URL']}\n"
        f"  沙箱   sandbox  {env['SANDBOX_URL']}/_sandbox/\n"
    )
    if accounts:
        print("账号与密码（只显示这一次 printed once）：")
        print("\n".join(f"  {line.split()[0]:<10} {line.split()[1]}" for line in accounts.splitlines()))
    else:
        print("账号沿用上次的密码；忘记时运行 make demo-passwords（new passwords）。")
    print("按 Ctrl-C 停止（stop）。", flush=True)
    while all(child.poll() is None for child in children):
        time.sleep(0.5)
    raise RuntimeError("有一个进程意外退出（a process ended）：原因见上面的输出。")


def finish(children: list[subprocess.Popen[bytes]]) -> None:
    """Stop what was started, console first, by pid; kill what does not go."""
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, interrupt)
    if sys.argv[1:] == ["passwords"]:
        print(flask(settings(8080, 8090), "demo-passwords"))
        return 0
    port, sandbox_port = port_of("PORT", 8080), port_of("SANDBOX_PORT", 8090)
    children: list[subprocess.Popen[bytes]] = []
    try:
        run(port, sandbox_port, children)
    except KeyboardInterrupt:
        print("\n正在停止（stopping）……", flush=True)
    except RuntimeError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    finally:
        finish(children)
    return 0


if __name__ == "__main__":
    sys.exit(main())
