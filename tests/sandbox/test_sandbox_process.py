"""The process: start, state file, second start, clean end, taken port, what it imports."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from fidelity.harness import COMPONENT, ROOT, Provider, Sandbox
from fidelity.receiver import Receiver

from tests.waiting import free_port, wait_for


def _provider(sandbox: Sandbox) -> Provider:
    return Provider(sandbox, ticket=sandbox.control("ticket")["tickets"][COMPONENT])


def test_second_start_keeps_everything(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first = Sandbox("--state", str(state))
    merchant = _provider(first).merchant()
    merchant.publish("1.0.0")
    merchant.upload("1.0.1")
    merchant.submit()
    before = merchant.versions()
    assert first.stop() == 0

    second = Sandbox("--state", str(state), port=first.port)
    merchant.sandbox = second
    assert merchant.versions() == before
    assert merchant.effects()["release"] == 1
    second.control("advance", seconds=30)
    assert merchant.versions()["audit"]["status"] == 1
    assert second.stop() == 0


def test_state_is_written_while_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    sandbox = Sandbox("--state", str(state))
    appid = sandbox.shop(name="被写下的店")
    wait_for(lambda: state.exists() and appid in json.loads(state.read_text(encoding="utf-8"))["apps"])
    sandbox.process.kill()
    sandbox.process.communicate()
    assert list(tmp_path.iterdir()) == [state]


def test_journal_file_has_every_exchange(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    sandbox = Sandbox("--journal", str(path))
    _provider(sandbox).merchant().upload()
    sandbox.stop()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["operation_id"] == "upload_code"
    assert rows[-1]["body"]["user_version"] == "1.0.0"


def test_taken_port_gives_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "sandbox", "--port", port]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "端口被占用" in done.stderr
    assert "address in use" in done.stderr


def test_it_is_small() -> None:
    sandbox = Sandbox()
    status = Path(f"/proc/{sandbox.process.pid}/status").read_text(encoding="utf-8")
    sandbox.stop()
    kilobytes = int(status.split("VmHWM:")[1].split()[0])
    assert kilobytes < 90_000


def test_ticket_is_repeated_until_the_console_is_up() -> None:
    port = free_port()
    sandbox = Sandbox("--console", f"http://127.0.0.1:{port}")
    wait_for(lambda: [p for p in sandbox.read("pushes")["pushes"] if "no answer" in p["result"]])
    late = Receiver(port=port)
    event = wait_for(lambda: late.named("PUSH"))[0]
    assert event["_tail"] == COMPONENT
    sandbox.stop()
    late.close()


def test_same_seed_same_world() -> None:
    def names(seed: str) -> list[tuple[str, str]]:
        sandbox = Sandbox("--seed", seed)
        apps = sandbox.read("state")["apps"]
        sandbox.stop()
        return [(app["appid"], app["name"]) for app in apps]

    first = names("5")
    assert names("5") == first
    assert names("6") != first


def test_it_imports_nothing_of_the_console() -> None:
    code = "import sys, sandbox.__main__; print([m for m in sys.modules if m == 'app' or m.startswith('app.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.strip() == "[]"


def test_broken_state_file_gives_one_sentence(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("{", encoding="utf-8")
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--state", str(state)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_folder_of_the_state_file_is_made(tmp_path: Path) -> None:
    state = tmp_path / "var" / "state.json"
    assert Sandbox("--state", str(state)).stop() == 0
    assert state.exists()
