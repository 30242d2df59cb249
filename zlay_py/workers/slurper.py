"""The set of hosts: known ones from SQL, those of RELAY_HOSTS, a bootstrap relay's list; one subscriber each."""

from collections.abc import Iterator
from urllib.parse import quote

import gevent

from zlay_py.clock import Clock
from zlay_py.errors import InvalidDataError, NetError, StorageFullError
from zlay_py.ingest.low_water import LowWater
from zlay_py.ingest.replay import Replay
from zlay_py.ingest.work import HostContext
from zlay_py.logs import get_logger
from zlay_py.net.backoff import Backoff
from zlay_py.net.hostname import HostAddress, parse_hostname
from zlay_py.net.http_client import HttpClient
from zlay_py.state.failures import StateUnavailableError
from zlay_py.state.hosts import HostRow, HostStatus, HostStore, NewHost
from zlay_py.workers.host_registry import HostRegistry
from zlay_py.workers.subscriber import Subscriber, SubscriberFactory
from zlay_py.workers.supervisor import Supervisor

log = get_logger(__name__)

LIST_HOSTS = "/xrpc/com.atproto.sync.listHosts"
PAGE_HOSTS = 1_000
PAGES_MAX = 100
"""A bootstrap list may name 100,000 hosts; the network has about 3,000."""
PAGE_BYTES_MAX = 4 * 1024 * 1024
PAGE_TIMEOUT_S = 30.0
STOP_S_MAX = 5.0
"""For the bootstrap and all subscribers together to end when they are told to."""
CRAWLED_STATUSES = ("active", "idle")
"""Hosts that the bootstrap relay calls otherwise are banned or gone there; they can still ask us by requestCrawl."""


class BootstrapList:
    """The host list of another relay."""

    def __init__(self, http: HttpClient, upstream: str, *, allow_local: bool) -> None:
        self._http = http
        self._allow_local = allow_local
        self._relay = parse_hostname(upstream, allow_local=True)

    def pages(self) -> Iterator[list[tuple[HostAddress, int | None]]]:
        """Address and last seq of every host to crawl. Raises NetError, InvalidDataError; earlier pages stand."""
        cursor = ""
        for _ in range(PAGES_MAX):
            query = f"?limit={PAGE_HOSTS}" + (f"&cursor={quote(cursor, safe='', errors='replace')}" if cursor else "")
            response = self._http.get_json(
                self._relay.http_url(LIST_HOSTS + query), timeout_s=PAGE_TIMEOUT_S, bytes_max=PAGE_BYTES_MAX
            )
            page = response.json
            if response.status != 200 or not isinstance(page, dict):
                raise InvalidDataError(f"listHosts answered with status {response.status}")
            hosts = page.get("hosts")
            yield list(self._hosts(hosts if isinstance(hosts, list) else []))
            following = page.get("cursor")
            if not isinstance(following, str) or not following or following == cursor:
                return
            cursor = following

    def _hosts(self, items: list[object]) -> Iterator[tuple[HostAddress, int | None]]:
        for item in items[:PAGE_HOSTS]:
            if not isinstance(item, dict) or item.get("status", "active") not in CRAWLED_STATUSES:
                continue
            name, seq = item.get("hostname"), item.get("seq")
            try:
                address = parse_hostname(name if isinstance(name, str) else "", allow_local=self._allow_local)
            except InvalidDataError:
                continue
            yield address, seq if type(seq) is int and seq > 0 else None  # JSON has booleans, too


class Slurper:
    """Owns the subscribers. A host that it knows is crawled until it is blocked; being down is no reason to stop."""

    def __init__(
        self,
        hosts: HostStore,
        registry: HostRegistry,
        make_subscriber: SubscriberFactory,
        bootstrap: BootstrapList | None,
        clock: Clock,
        backoff: Backoff,
        *,
        extra_hosts: tuple[HostAddress, ...],
        allow_local: bool,
        replays: dict[int, Replay],
    ) -> None:
        self.subscribers: dict[int, Subscriber] = {}
        self._hosts = hosts
        self._registry = registry
        self._make_subscriber = make_subscriber
        self._bootstrap = bootstrap
        self._clock = clock
        self._backoff = backoff
        self._extra_hosts = extra_hosts
        self._allow_local = allow_local
        self._replays = replays
        self._greenlets: list[gevent.Greenlet[..., object]] = []
        self._bootstrapping: gevent.Greenlet[..., object] | None = None
        self._stopped = False

    def start(self, supervisor: Supervisor) -> None:
        """Subscribes to every host known so far and starts to fetch the bootstrap list."""
        for row in self._hosts.all():
            self._subscribe(row, supervisor)
        # from their beginning: a quiet host's first events must not fall between first contact and first frame
        self._add([NewHost(address.name, address.tls, cursor=0) for address in self._extra_hosts], supervisor)
        if self._stopped:  # while SQL answered
            return
        if self._bootstrap is None:
            log.info("no bootstrap relay is set: only known hosts and RELAY_HOSTS are crawled")
        else:
            bootstrap = self._bootstrap
            self._bootstrapping = supervisor.spawn("bootstrap", lambda: self._fetch_list(bootstrap, supervisor))

    def stop(self) -> None:
        """Closes every host connection, for good. Frames that were read stay with the lanes."""
        self._stopped = True
        # the bootstrap first: it would subscribe to more hosts while the others end
        bootstrapping = [] if self._bootstrapping is None else [self._bootstrapping]
        gevent.killall(bootstrapping + self._greenlets, block=True, timeout=STOP_S_MAX)

    def connected(self) -> int:
        return sum(subscriber.connected for subscriber in self.subscribers.values())

    def _fetch_list(self, bootstrap: BootstrapList, supervisor: Supervisor) -> None:
        while True:
            count = 0
            try:
                for page in bootstrap.pages():
                    self._add([NewHost(address.name, address.tls, cursor=seq) for address, seq in page], supervisor)
                    count += len(page)
            except (NetError, InvalidDataError, StateUnavailableError, StorageFullError) as error:
                wait_s = self._backoff.next()
                log.warning(
                    "bootstrap failed: the host list could not be fetched or saved; the relay serves and tries again",
                    error=str(error)[:300],
                    hosts_so_far=count,
                    retry_in_s=round(wait_s, 1),
                )
                gevent.sleep(wait_s)
                continue
            log.info("bootstrap done", hosts=count)
            return

    def _add(self, hosts: list[NewHost], supervisor: Supervisor) -> None:
        """Makes the rows of those that are new, and crawls all. `cursor` counts only for a host that is new."""
        for row in self._hosts.upsert_many(hosts, now_us=self._clock.now_us()):
            self._subscribe(row, supervisor)

    def _subscribe(self, row: HostRow, supervisor: Supervisor) -> None:
        if self._stopped or row.id in self._registry or row.status is HostStatus.BANNED:
            return
        try:
            url = ("https://" if row.tls else "http://") + row.hostname
            address = parse_hostname(url, allow_local=self._allow_local)
        except InvalidDataError as error:
            log.warning("host not crawled", host=row.hostname, reason=str(error)[:200])
            return
        host = HostContext(
            row.id,
            row.hostname,
            row.epoch,
            LowWater(row.cursor),
            sync11_mode=row.sync11_mode,
            replay=self._replays.pop(row.id, Replay()),
        )
        self._registry.add(host)
        subscriber = self._make_subscriber(host, address)
        if row.status is HostStatus.OFFLINE:
            subscriber.doubt()
        self.subscribers[row.id] = subscriber
        self._greenlets.append(supervisor.spawn(f"subscriber {row.hostname}", subscriber.run))
