"""The identities in memory. What exists and what does not are bounded apart: invented DIDs evict no real ones."""

from collections import OrderedDict, defaultdict

from zlay_py.identity.model import Identity, IdentityState

NOT_FOUND_MAX = 50_000
"""DIDs known not to exist, about 20 MB. The one told longest ago makes room."""

_BUCKET_US = 60_000_000


class IdentityCache:
    """By DID. At `entries_max` existing ones, the tenth that was resolved longest ago goes at once, as in zlay.

    To find that tenth without sorting a quarter of a million entries while the hub waits, DIDs are also kept in
    buckets of one minute of their resolve time: old buckets go whole, and only the last one needed is sorted.
    """

    def __init__(self, entries_max: int) -> None:
        assert entries_max > 0, "a cache holds something"
        self._entries_max = entries_max
        self._entries: dict[str, Identity] = {}
        self._buckets: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._not_found: OrderedDict[str, Identity] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries) + len(self._not_found)

    def get(self, did: str) -> Identity | None:
        return self._entries.get(did) or self._not_found.get(did)

    def put(self, identity: Identity) -> None:
        """Replaces what there was of the DID."""
        did = identity.did
        self._remove(did)
        if identity.state is IdentityState.NOT_FOUND:
            self._not_found[did] = identity
            if len(self._not_found) > NOT_FOUND_MAX:
                self._not_found.popitem(last=False)
            return
        if len(self._entries) >= self._entries_max:
            self._evict(max(1, self._entries_max // 10))
        self._entries[did] = identity
        self._buckets[identity.resolved_us // _BUCKET_US][did] = None

    def _remove(self, did: str) -> None:
        self._not_found.pop(did, None)
        entry = self._entries.pop(did, None)
        if entry is not None:
            minute = entry.resolved_us // _BUCKET_US
            del self._buckets[minute][did]
            if not self._buckets[minute]:
                del self._buckets[minute]

    def _evict(self, count: int) -> None:
        self.evicted += count
        for minute in sorted(self._buckets):
            bucket = self._buckets[minute]
            if len(bucket) <= count:
                gone = list(self._buckets.pop(minute))
            else:
                gone = sorted(bucket, key=lambda did: self._entries[did].resolved_us)[:count]
                for did in gone:
                    del bucket[did]
            for did in gone:
                del self._entries[did]
            count -= len(gone)
            if not count:
                return
