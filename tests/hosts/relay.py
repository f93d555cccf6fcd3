"""A bad line between two interfaces: frames come late, and some never. `relay.py FIRST SECOND DELAY_S LOSS SEED`.

Runs in a namespace, with nothing but the standard library. It takes whole frames with what the kernel knows of them
(segments that are still to be cut, checksums that are still to be made), so that the hosts' own settings stay.
"""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import sys
import time

_ALL_FRAMES = 0x0003  # ETH_P_ALL
_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_LONGEST = 1 << 17  # of a frame before it is cut into segments, and its header


def main(names: list[str], delay_s: float, loss: float, seed: int) -> None:
    """Pass frames on, both ways, for ever."""
    first, second = map(_opened, names)
    other = {first: second, second: first}
    rng, order = random.Random(seed), itertools.count()
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    print("there", flush=True)
    while True:
        until = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for source in select.select([first, second], [], [], until)[0]:
            frame, address = source.recvfrom(_LONGEST)
            if address[2] != socket.PACKET_OUTGOING and rng.random() >= loss:
                heapq.heappush(waiting, (time.monotonic() + delay_s, next(order), other[source], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, target, frame = heapq.heappop(waiting)
            try:
                target.send(frame)
            except OSError:  # a line that is down or full loses frames
                continue


def _opened(name: str) -> socket.socket:
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
    line.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
    line.bind((name, 0))
    return line


if __name__ == "__main__":
    main(sys.argv[1:3], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
