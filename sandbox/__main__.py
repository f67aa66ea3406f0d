"""Command line: python -m sandbox --port 8090 --console http://127.0.0.1:8080."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

from .server import Options, Server


def _options(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(prog="sandbox", description="抖音开放平台沙箱 Douyin platform sandbox")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("SANDBOX_PORT", "8090")))
    parser.add_argument("--console", default="", help="console's address, e.g. http://127.0.0.1:8080")
    parser.add_argument("--state", type=Path, help="file that keeps the state between starts")
    parser.add_argument("--seed", type=int, default=1)
    seconds = float(os.environ.get("SANDBOX_AUDIT_SECONDS", "20"))
    parser.add_argument("--audit-seconds", type=float, default=seconds)
    parser.add_argument("--journal", type=Path, help="file of JSON lines, one per exchange")
    found = parser.parse_args(arguments)
    return Options(**vars(found))


def _listen(host: str, port: int) -> socket.socket | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        return None
    listener.setblocking(False)
    return listener


def main(arguments: list[str] | None = None) -> int:
    options = _options(sys.argv[1:] if arguments is None else arguments)
    listener = _listen(options.host, options.port)
    if listener is None:
        where = f"{options.host}:{options.port}"
        sys.stderr.write(f"端口被占用，无法启动沙箱 / Cannot start the sandbox, address in use: {where}\n")
        return 1
    if options.port == 0:
        options = replace(options, port=listener.getsockname()[1])
    for path in (options.state, options.journal):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = Server(options)
    except (ValueError, KeyError, TypeError) as broken:
        sys.stderr.write(f"沙箱状态文件无法读取 / Cannot read the state file {options.state}: {broken}\n")
        return 1
    asyncio.run(server.run(listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
