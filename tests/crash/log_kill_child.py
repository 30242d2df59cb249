"""A process that appends to a log and says so on stdout, until it is killed or kills itself.

    log_kill_child.py DIRECTORY DURABILITY BATCHES [POINT NTH [power SEED]]

    open NEXT_SEQ             the log is open
    seen FIRST LAST NAME      consumers can see this batch from now on
    ack FIRST LAST NAME       the writer has its seqs
    synced SEQ                everything up to it is durable, in flush mode too
    removing SEQ              retention may drop what is up to it
    closed NEXT_SEQ           after so many batches, if nothing came before

Every event of a batch carries the batch's name. With POINT, the process kills itself the NTH time it gets there; with
`power`, its files are then what a loss of power may leave.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.eventlog.builders import event
from tests.support.lossy_files import LossyFiles
from zlay_py.clock import SystemClock
from zlay_py.crashpoints import CrashPoint
from zlay_py.eventlog.ceiling import Durability
from zlay_py.eventlog.files import OsFiles
from zlay_py.eventlog.log import EventLog
from zlay_py.eventlog.tail import Tail

# A dozen batches to a segment, and a few segments to a stride.
SEGMENT_BYTES_MAX = 100_000
CEILING_STRIDE = 300


class TellingTail(Tail):
    name = ""

    def publish(self, frames: Sequence[tuple[int, bytes]], tip_seq: int) -> None:
        super().publish(frames, tip_seq)
        tell("seen", frames[0][0], tip_seq, self.name)


def tell(*words: object) -> None:
    """In one write, so that a kill leaves whole lines; it stays in the pipe whatever happens to this process."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main(
    directory: str, durability: str, batches: str, point: str = "", nth: str = "1", how: str = "kill", seed: str = "0"
) -> None:
    left = [int(nth)]
    files = LossyFiles() if how == "power" else OsFiles()

    def reached(at: CrashPoint) -> None:
        if at == point:
            left[0] -= 1
            if left[0] == 0:
                if isinstance(files, LossyFiles):
                    files.lose_power(Random(seed))
                os.kill(os.getpid(), signal.SIGKILL)

    tail = TellingTail()
    log = EventLog(
        Path(directory),
        durability=Durability(durability),
        clock=SystemClock(),
        tail=tail,
        segment_bytes_max=SEGMENT_BYTES_MAX,
        ceiling_stride=CEILING_STRIDE,
        files=files,
        reached=reached,
    )
    tell("open", log.open().next_seq)
    for number in range(int(batches)):
        tail.name = f"{os.getpid()}-{number}"
        count = 1 + number * 7 % 40 + 60 * (number % 6 == 3)
        seqs = log.append([event(place, name=tail.name, size=50 + place * 37 % 900) for place in range(count)])
        tell("ack", seqs[0], seqs[-1], tail.name)
        if number % 5 == 4:
            log.sync()
            tell("synced", log.current_seq)
        if number % 8 == 7:
            tell("removing", log.current_seq - 50)
            log.retain(0, 3 * SEGMENT_BYTES_MAX, log.current_seq - 50)
    log.close()
    tell("closed", log.next_seq)


if __name__ == "__main__":
    main(*sys.argv[1:])
