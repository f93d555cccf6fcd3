"""A process that outlives a command by some seconds: it says how to go on, and ends what the command's own Ray left.

A command that is killed, or that Ray ends from C++, can do neither itself. `last_words.py` starts this file as
`python survivor.py PID LOGS HEAD`: the command's number, the folder of logs of a Ray that it started and the address of
a cluster that it joined, one of them empty. It runs on the standard library alone, in some milliseconds and 10 MB.
Its standard input has a line `say TEXT` whenever it changes how to go on, and `bye` when the command closes by itself.

A process belongs to that Ray if it appends to a file in LOGS, whose name holds the command's number and the microsecond
of its start: names and parents of processes say less, since Ray's agents change the one and lose the other. Drivers
append to a file of their own kind there. They are left alone: the command itself, where it goes on, and other people's.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator

_LOOK_S = 1.0  # how often it looks whether the command is there: a fork of it may hold the pipe open
_CONNECT_S = 3.0
_STEP_S = 0.1
_BY_ITSELF_S, _AFTER_SIGTERM_S, _AFTER_SIGKILL_S = 2.5, 2.0, 1.0
_OF_A_DRIVER = "python-core-driver-"


def main(command: int, logs: str, head: str) -> None:
    """Wait until the command closes or is gone, then speak for it and clear up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # meant for the command, which then closes the pipe
        signal.signal(number, signal.SIG_IGN)
    how_to_go_on, has_closed = _listen(command)
    if not has_closed:
        _speak(head, how_to_go_on)
    if logs:
        end_processes_of(os.path.realpath(logs))


def end_processes_of(logs: str) -> None:
    """End what appends to files in a folder of Ray's logs and does not go by itself within moments."""
    for patience_s, number in ((_BY_ITSELF_S, signal.SIGTERM), (_AFTER_SIGTERM_S, signal.SIGKILL)):
        if _are_gone(logs, patience_s):
            return
        for pid in processes_of(logs):
            _send(pid, number)
    _are_gone(logs, _AFTER_SIGKILL_S)


def processes_of(logs: str) -> list[int]:
    """Processes that append to a file in this folder, without drivers."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            files = list(_files_appended(name, logs + "/"))
            if files and not any(_OF_A_DRIVER in file for file in files):
                found.append(int(name))
    return found


def _listen(command: int) -> tuple[str, bool]:
    """How to go on, and whether the command closes by itself; returns when it does, or is gone."""
    received, how_to_go_on = b"", ""
    while True:
        is_gone = os.getppid() != command
        while select.select([0], [], [], 0.0 if is_gone else _LOOK_S)[0]:
            content = os.read(0, 1 << 16)
            if not content:
                return how_to_go_on, False
            *lines, received = (received + content).split(b"\n")
            for line in lines:
                if line == b"bye":
                    return how_to_go_on, True
                how_to_go_on = line.removeprefix(b"say ").decode(errors="replace")
        if is_gone:
            return how_to_go_on, False


def _speak(head: str, how_to_go_on: str) -> None:
    reason = "the command ended without a word, as when it is killed or memory runs out"
    if head and not answers(head):
        reason = f"the head of the Ray cluster at {head} does not answer, and Ray ended the command"
    line = f"error: {reason}: {how_to_go_on or 'run it again'}\n"
    try:
        os.write(2, line.encode())
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)  # whoever reads to the end need not wait for the rest
    except OSError:  # the terminal has gone too
        return


def answers(address: str, timeout_s: float = _CONNECT_S) -> bool:
    """Whether somebody listens at HOST:PORT."""
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()
    except OSError:
        return False
    return True


def _are_gone(logs: str, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while processes_of(logs):
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP_S)
    return True


def _files_appended(pid: str, folder: str) -> Iterator[str]:
    """Files below a folder that a process holds open to append to."""
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it has ended, or is somebody else's
        return
    for number in numbers:
        try:
            file = os.readlink(f"/proc/{pid}/fd/{number}")
            if file.startswith(folder) and _flags(pid, number) & os.O_APPEND:
                yield file
        except OSError:  # it has just closed this one
            continue


def _flags(pid: str, number: str) -> int:
    with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as lines:
        return next(int(line.split()[1], 8) for line in lines if line.startswith("flags:"))


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except OSError:  # it has just ended
        return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
