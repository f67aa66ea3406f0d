"""A stranger's first hour: `make demo` and `make test` in a bare Debian 12, as root and as an ordinary user.

    python -m bench.bare [--only demo|test] [--user root|plain] [--tests "tests/project -x"] [--root DIR] [--again]

The root is debootstrap's minbase with python3, python3-venv and make; each user has a copy of it, with the project's
files as they stand. Its apt and pip reach what this machine's do. Every command has its own namespaces of processes
and mounts (unshare), which end with it. --root keeps the made root in DIR, --again also what was installed in the
copies. Needs root and debootstrap (installed by apt where it is missing). Exits 1 when a command did not hold.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from scripts.tracked import ROOT, tracked

RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,make"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOMES = {"plain": "home/plain", "root": "root"}  # the ordinary user first: its part needs no root to have been before
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
READY = "抖舟演示已就绪"
DEMO_SECONDS, TEST_SECONDS = 900, 7200
PIP = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout", "default-timeout", "retries")
APT = re.compile(r"Acquire::(https?|Check-|Retries|Languages|IndexTargets::deb::DEP-11.*DefaultEnabled)")
# As the first process of its namespace: /proc and /dev for the root, then the command.
INSIDE = """mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" &&
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm" || exit 1
shift; "$@"; exit $?"""


@dataclass
class Outcome:
    command: str
    user: str
    seconds: float
    ok: bool
    words: str
    said: list[str] = field(default_factory=list)


def stop(sentence: str) -> NoReturn:
    sys.exit(sentence)


def namespaces(*command: str | Path, **how: object) -> subprocess.Popen[bytes]:
    """A command that sees no process but its own, and whose processes and mounts are gone when it or we end."""
    apart = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
    return subprocess.Popen([*apart, *map(str, command)], start_new_session=True, **how)  # type: ignore[call-overload,no-any-return]


def enter(root: Path, user: str, *command: str, log: Path) -> subprocess.Popen[bytes]:
    """A command in the project's folder of the bare root, with the environment of somebody who has just logged in."""
    home = f"/{HOMES[user]}"
    given = {"HOME": home, "USER": user, "LOGNAME": user, "PATH": PATH}
    given |= {name: value for name, value in os.environ.items() if re.fullmatch(r"(?i)(https?|all|no)_proxy", name)}
    words = [f"{name}={value}" for name, value in given.items()]
    who = () if user == "root" else (f"--userspec={user}:{user}",)
    there = ("chroot", *who, str(root), "env", "-i", *words, "sh", "-c", 'cd "$0" && exec "$@"', f"{home}/douzhou")
    with log.open("wb") as out:
        return namespaces(
            "sh",
            "-c",
            INSIDE,
            "sh",
            root,
            *there,
            *command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def needs() -> None:
    """Stop with one sentence where this cannot be done."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        stop("需要 root（needs root）：请以 root 运行 make bench-bare。")
    if not shutil.which("debootstrap"):
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "debootstrap"]):
            if not shutil.which("apt-get") or subprocess.run(command, capture_output=True, check=False).returncode:
                stop("没有 debootstrap（is missing）：请安装它，例如 apt install debootstrap。")
    if not shutil.which("unshare") or namespaces("true", stderr=subprocess.DEVNULL).wait():
        stop("不能建立命名空间（no namespaces here）：容器需要 CAP_SYS_ADMIN，或换一台机器。")


def sources() -> list[tuple[str, str, str]]:
    """Where this machine's own apt finds the release: address, suite, component."""
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = said("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    rows = sorted({tuple(line.split()) for line in listed if len(line.split()) == 3})
    return [(uri, suite, part) for uri, suite, part in rows if suite.split("-")[0] == RELEASE]


def said(*command: str) -> list[str]:
    if not shutil.which(command[0]):
        return []
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def pip_settings() -> str:
    """This machine's pip settings that tell the way to its registry; folders of its own are left out."""
    kept: dict[str, str] = {}
    for line in said(sys.executable, "-m", "pip", "config", "list"):
        name, _, value = line.partition("=")
        words = ast.literal_eval(value).split()
        key = name.rpartition(".")[2]
        found = " ".join(word for word in words if not word.startswith("file:") and (key == "cert" or word[0] != "/"))
        if key in PIP and found:
            kept[key] = found
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in kept.items())


def make_root(base: Path) -> None:
    """debootstrap, one ordinary user, and this machine's way to the registries."""
    shutil.rmtree(base, ignore_errors=True)
    found = sources()
    mirror = [uri for uri, suite, _ in found if suite == RELEASE][:1]
    log = base.with_suffix(".log")
    with log.open("wb") as out:
        made = namespaces(
            "--mount-proc",
            "debootstrap",
            "--variant=minbase",
            f"--include={PACKAGES}",
            RELEASE,
            base,
            *mirror,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        if made.wait():
            stop(f"debootstrap 失败（failed）：{log.read_text(errors='replace').strip()[-400:]}")
    subprocess.run(["chroot", base, "/usr/sbin/useradd", "--create-home", "--shell", "/bin/sh", "plain"], check=True)
    if found:
        lines = [f"deb {uri} {suite} {part}\n" for uri, suite, part in found]
        (base / "etc/apt/sources.list").write_text("".join(lines))
    settings = [f"{line}\n" for line in said("apt-config", "dump") if APT.match(line)]
    (base / "etc/apt/apt.conf.d/99host").write_text("".join(settings))
    (base / "etc/pip.conf").write_text(pip_settings())
    for name in ("etc/resolv.conf", "etc/hosts", CERTIFICATES, "usr/local/share/ca-certificates"):
        if Path("/", name).is_dir():
            shutil.copytree(Path("/", name), base / name, dirs_exist_ok=True)
        elif Path("/", name).exists():
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path("/", name), base / name)


def put_in(root: Path, user: str) -> None:
    """The project's files, as an archive of them would be unpacked: no git, and nothing that was made here."""
    home = root / HOMES[user]
    owner = home.stat()
    for path in tracked():
        target = home / "douzhou" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for folder, _, files in os.walk(home / "douzhou"):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def demo(root: Path, user: str, log: Path) -> Outcome:
    """Until it says ready; then its first page is fetched, then it is stopped as Ctrl-C would."""
    port, sandbox_port = free_ports()
    started = time.monotonic()
    process = enter(root, user, "make", "demo", f"PORT={port}", f"SANDBOX_PORT={sandbox_port}", log=log)
    try:
        while READY not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > started + DEMO_SECONDS:
                return Outcome("make demo", user, time.monotonic() - started, False, "not ready", last_lines(log))
            time.sleep(0.1)
        seconds = time.monotonic() - started
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/login/", timeout=30) as answer:
            page = answer.read()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
        whole = b"</html>" in page
        words = f"ready; the page has {len(page):,} bytes{'' if whole else ', not whole'}; stopped"
        return Outcome("make demo", user, seconds, whole, words)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Outcome("make demo", user, time.monotonic() - started, False, repr(error), last_lines(log))
    finally:
        end(process)


def suite(root: Path, user: str, log: Path, arguments: str) -> Outcome:
    """The whole suite, or the part that `arguments` names."""
    started = time.monotonic()
    process = enter(root, user, "make", "test", *([f"ARGS={arguments}"] if arguments else []), log=log)
    try:
        code = process.wait(TEST_SECONDS)
    except subprocess.TimeoutExpired:
        code = -1
    finally:
        end(process)
    lines = log.read_text(errors="replace").splitlines()
    counted = [line.strip("= ") for line in lines if re.match(r"(=+ )?\d+ \w+.* in [\d.]+s", line)]
    words = re.sub(r" in [\d.]+s.*", "", counted[-1]) if counted else "no summary"
    notes = [line for line in lines if re.match(r"FAILED |ERROR |\S*浏览器测试|跳过了", line)]
    ok = code == 0 and bool(counted)
    return Outcome("make test", user, time.monotonic() - started, ok, words, notes if counted else last_lines(log))


def end(process: subprocess.Popen[bytes]) -> None:
    """The first process of a namespace takes the others with it."""
    if process.poll() is None:
        process.kill()
        process.wait()


def last_lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-15:]


def measure(folder: Path, options: argparse.Namespace) -> list[Outcome]:
    base = folder / "bare"
    mark = folder / "bare.made"
    if not mark.exists():
        started = time.monotonic()
        make_root(base)
        mark.touch()
        print(f"a bare root made in {time.monotonic() - started:.0f} s", flush=True)
    found: list[Outcome] = []
    for user in HOMES:
        if options.user not in {None, user}:
            continue
        root = folder / user
        if not (options.again and root.exists()):
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
        put_in(root, user)
        if options.only != "test":
            found.append(show(demo(root, user, folder / f"{user}-demo.log")))
        if options.only != "demo":
            found.append(show(suite(root, user, folder / f"{user}-test.log", options.tests)))
    return found


def show(outcome: Outcome) -> Outcome:
    print(f"{outcome.command}  {outcome.user:5s} {outcome.seconds:8.1f}  {outcome.words}", flush=True)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["demo", "test"])
    parser.add_argument("--user", choices=list(HOMES))
    parser.add_argument("--tests", default="", help="given to pytest")
    parser.add_argument("--root", type=Path, help="folder to make the root in, or with one made before; kept")
    parser.add_argument("--again", action="store_true", help="go on in the copies of the last time")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: stop("stopped"))
    needs()
    folder = (options.root or Path(tempfile.mkdtemp(prefix="douzhou-bare-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    try:
        print("command    user   seconds  outcome")
        found = measure(folder, options)
    finally:
        mounted = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {folder}/" in line]
        if not options.root and not mounted:
            shutil.rmtree(folder)
    for outcome in found:
        print("".join(f"\n{outcome.command} as {outcome.user}: {line}" for line in outcome.said), end="")
    print(f"\n{mounted or 'nothing'} is left mounted")
    return 0 if all(outcome.ok for outcome in found) and not mounted else 1


if __name__ == "__main__":
    sys.exit(main())
