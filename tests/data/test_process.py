"""What a process calls itself."""

from __future__ import annotations

import os

from app.data import claims, process


def test_a_fork_is_another_process_and_its_holds_are_its_own() -> None:
    ours, (read, write) = process.PROCESS, os.pipe()
    child = os.fork()
    if not child:
        os.write(write, f"{process.PROCESS} {claims.new_mark()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs, mark = os.read(read, 400).decode().split()
    os.close(read)
    os.close(write)
    assert theirs.startswith(f"{child}-") and mark.startswith(theirs)
    assert (process.PROCESS, theirs != ours) == (ours, True)
