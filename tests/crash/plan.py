"""What is to happen to a relay, and where: the words between a test and `relay_app`."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

VARIABLE = "CRASH_PLAN"


@dataclass(frozen=True)
class Plan:
    """The `nth` time the relay comes by `point`, the process is killed (`kill`), or dies of a power loss (`power`), or
    goes on with a disk that has this fault. `told`: a file that is made then, so that nothing is taken for granted.

    The rest as in `zlay_py.runtime.Seams`.
    """

    point: str = ""
    nth: int = 1
    event: str = "kill"
    told: str = ""
    seed: int = 0
    segment_bytes_max: int = 100_000
    ceiling_stride: int = 500
    cursor_save_interval_s: float = 0.3
    retention_interval_s: float = 0.2
    disk_budget_bytes: int | None = None

    def encode(self) -> dict[str, str]:
        """As environment variables."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def of_environment(cls) -> Self:
        return cls(**json.loads(os.environ.get(VARIABLE, "{}")))
