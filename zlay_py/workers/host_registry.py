"""The hosts that this process crawls, by id: what the saver of cursors, the API and the metrics look at."""

from collections.abc import Iterator

from zlay_py.ingest.work import HostContext


class HostRegistry:
    """Live host contexts. A host is here from its subscription to the end of the process, or its block."""

    def __init__(self) -> None:
        self._by_id: dict[int, HostContext] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[HostContext]:
        return iter(list(self._by_id.values()))

    def __contains__(self, host_id: int) -> bool:
        return host_id in self._by_id

    def add(self, host: HostContext) -> None:
        self._by_id[host.id] = host

    def get(self, host_id: int) -> HostContext | None:
        return self._by_id.get(host_id)
