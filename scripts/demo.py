"""`make demo`: sandbox and console on loopback, with data at the first start; Ctrl-C stops both.

The database and the keys are the demo's own, under var/; `.env` may tune the rest and is checked first.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
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
from typing import NoReturn

from dotenv.parser import parse_stream

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from config import Config, SettingError

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
OWN_FILE = VAR / "demo.env"
READY = VAR / "demo.ready"  # written when the first start's data is complete
READY_SECONDS = 60
PARENT = os.getppid()
# What the demo decides itself, so that it can never touch an installation that .env describes.
OWN = frozenset(
    {
        "BIND",
        "DATABASE_URL",
        "DATA_KEYS",
        "DEMO",
        "DOUYIN_MICROAPP_URL",
        "DOUYIN_OPEN_URL",
        "DOUYIN_TOUTIAO_URL",
        "DOUZHOU_ENV",
        "EMBEDDED",
        "INDEX_KEY",
        "PROXY_HOPS",
        "PUBLIC_URL",
        "REDIS_URL",
        "SANDBOX_URL",
        "SECRET_KEY",
        "STORAGE_URL",
        "TRUSTED_HOSTS",
        "WEB_WORKERS",
    }
)


def stop(sentence: str) -> NoReturn:
    """End with one sentence that says what to do."""
    sys.exit(sentence)


def port_of(name: str, default: int) -> int:
    raw = os.environ.get(name, str(default))
    if not raw.isdecimal() or not 1 <= int(raw) <= 65535:
        stop(f"{name} 应为 1 到 65535 的端口号（must be a port number），现在是 {raw!r}。")
    port = int(raw)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            other = port + 100 if port < 65000 else port - 100
            stop(f"端口 {port} 已被占用（port in use）：请换一个，例如 make demo {name}={other}。")
    return port


def lock() -> int:
    """One demo at a time in this folder: its database serves one process. The open file holds the lock."""
    held = os.open(VAR / "demo.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stop("这个目录的演示已在运行（already running）：请先用 Ctrl-C 停止它。")
    return held


def keys() -> dict[str, str]:
    """The demo's own keys, made once and kept under var/."""
    stored = dict(line.split("=", 1) for line in OWN_FILE.read_text().splitlines()) if OWN_FILE.exists() else {}
    if "INDEX_KEY" in stored:
        return {name: stored[name] for name in ("SECRET_KEY", "DATA_KEYS", "INDEX_KEY")}
    data, index = (base64.b64encode(secrets.token_bytes(32)).decode() for _ in range(2))
    return {"SECRET_KEY": secrets.token_urlsafe(48), "DATA_KEYS": f"k1:{data}", "INDEX_KEY": index}


def dotenv() -> dict[str, str]:
    """What `.env` sets, blanks left out; stops where a line cannot be read."""
    path = ROOT / ".env"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        bindings = list(parse_stream(file))
    for found in bindings:
        if found.error:
            stop(f".env 第 {found.original.line} 行无法读懂（cannot be read）：每行应为 名称=值，请修改 .env。")
    return {found.key: found.value for found in bindings if found.key and found.value}


def check(given: dict[str, str]) -> None:
    """Stop on a setting of `.env` or the environment that the product could not be started with."""
    try:
        Config({**keys(), **given})
        if given.keys() & {"DATA_KEYS", "INDEX_KEY"}:
            from app.data.secrets import KeyRing  # noqa: PLC0415  (seconds, and rarely needed)

            found = {**keys(), **given}
            KeyRing(found["DATA_KEYS"], found["INDEX_KEY"])
    except SettingError as error:
        stop(f"演示无法启动（cannot start）：{error}")
    except Exception as error:
        if type(error).__name__ != "KeyRingError":
            raise
        stop(f"演示无法启动（cannot start）：{error}")


def settings(port: int, sandbox_port: int) -> dict[str, str]:
    """The children's environment. The demo's own settings are kept in var/demo.env, for commands by hand as well."""
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    own = {
        **keys(),
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
    }
    OWN_FILE.touch(mode=0o600)
    OWN_FILE.write_text("".join(f"{name}={value}\n" for name, value in own.items()))
    return environment()


def environment() -> dict[str, str]:
    """What `.env` and our environment may tune, and the file with the demo's own settings."""
    given = {name: value for name, value in {**dotenv(), **os.environ}.items() if name not in OWN}
    return {**given, "DOUZHOU_ENV": str(OWN_FILE), "PYTHONUNBUFFERED": "1"}


def wait_until(url: str, process: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{what}没有启动（did not start）：原因见上面的输出。")
        try:
            urllib.request.urlopen(url, timeout=2).close()  # loopback, our own address
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{what}在 {READY_SECONDS} 秒内没有就绪（not ready in time）：请看上面的输出。")


def flask(env: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "flask", "--app", "run", *arguments]
    done = subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"flask {arguments[0]} 失败（failed）"]
        raise RuntimeError(said[-1])
    return done.stdout.strip()


def _die_with_us() -> None:
    """In the child, Linux only: end even when we are killed with no time to end it."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def start(*command: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that Ctrl-C reaches it by us alone and in order."""
    prepare = _die_with_us if sys.platform == "linux" else None
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=env,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509  (no thread runs yet, and nothing else ends a child of a killed parent)
    )


def clear_half_made() -> None:
    """A first start that did not come to its end left data without known passwords: begin again."""
    for path in (*VAR.glob("demo.db*"), *VAR.glob("sandbox.json*")):
        path.unlink()


def run(port: int, sandbox_port: int, children: list[subprocess.Popen[bytes]]) -> None:
    env = settings(port, sandbox_port)
    console, sandbox = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"
    first = not READY.exists()
    if first:
        clear_half_made()
    state = str(VAR / "sandbox.json")
    address = ("--port", str(sandbox_port), "--console", console, "--state", state)
    children.append(start("sandbox", *address, env=env))
    flask(env, "setup")
    wait_until(f"{sandbox}/_sandbox/api/state", children[0], "沙箱")
    accounts = flask(env, "demo-data", "--sandbox", sandbox) if first else ""
    children.append(start("gunicorn", "-c", "gunicorn.conf.py", "run:app", env=env))
    wait_until(f"{console}/healthz", children[1], "控制台")
    announce(console, sandbox, accounts)
    READY.touch()
    while all(child.poll() is None for child in children):
        if os.getppid() != PARENT:
            raise KeyboardInterrupt  # make was killed
        time.sleep(0.5)
    raise RuntimeError("有一个进程意外退出（a process ended）：原因见上面的输出。")


def announce(console: str, sandbox: str, accounts: str) -> None:
    print(f"\n抖舟演示已就绪（ready）\n  控制台 console  {console}\n  沙箱   sandbox  {sandbox}/_sandbox/\n")
    if accounts:
        print("账号与密码（只显示这一次 printed once）：")
        print("\n".join(f"  {line.split()[0]:<10} {line.split()[1]}" for line in accounts.splitlines()))
    else:
        print("账号沿用上次的密码；忘记时运行 make demo-passwords（new passwords）。")
    print("按 Ctrl-C 停止（stop）。", flush=True)


def finish(children: list[subprocess.Popen[bytes]]) -> None:
    """Stop what was started, console first, by pid; kill what does not go. Not to be interrupted."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
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


def new_passwords() -> int:
    if not READY.exists():
        stop("还没有演示数据（no demo data yet）：请先运行 make demo。")
    try:
        print(flask(environment(), "demo-passwords"))
    except RuntimeError as problem:
        stop(str(problem))
    return 0


def main() -> int:
    if sys.argv[1:] == ["passwords"]:
        return new_passwords()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a shell's background job ignores it
        signal.signal(name, interrupt)
    os.umask(0o077)  # the children's files too
    VAR.mkdir(exist_ok=True)
    check({**dotenv(), **os.environ})
    port, sandbox_port = port_of("PORT", 8080), port_of("SANDBOX_PORT", 8090)
    if port == sandbox_port:
        stop("PORT 与 SANDBOX_PORT 不能相同（must differ）：请改其中一个。")
    held, children = lock(), list[subprocess.Popen[bytes]]()
    try:
        run(port, sandbox_port, children)
    except KeyboardInterrupt:
        print("\n正在停止（stopping）……", flush=True)
    except RuntimeError as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 1
    finally:
        finish(children)
        os.close(held)
    return 0


if __name__ == "__main__":
    sys.exit(main())
