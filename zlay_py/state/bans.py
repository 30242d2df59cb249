"""Domains whose hosts are not crawled, at any depth below them."""

from sqlalchemy import bindparam, delete, select

from zlay_py.state import schema
from zlay_py.state.database import Database


class DomainBanStore:
    """The domain_bans table; domains are lower case, without a leading dot."""

    def __init__(self, database: Database) -> None:
        self._database = database
        sql, table = database.sql, schema.domain_bans
        self._get = sql.text(select(table.c.domain).where(table.c.domain == bindparam("domain")), "domain")
        self._all = sql.text(select(table.c.domain).order_by(table.c.domain))
        insert = sql.insert(table).values(domain=bindparam("domain"), created_us=bindparam("created_us"))
        self._add = sql.text(insert.on_conflict_do_nothing(index_elements=[table.c.domain]), "domain", "created_us")
        self._remove = sql.text(delete(table).where(table.c.domain == bindparam("domain")), "domain")

    def add(self, domain: str, now_us: int) -> bool:
        """False if it was banned before, also by a call of ours whose answer was lost."""
        return self._database.transaction(lambda cursor: cursor.execute(self._add, (domain, now_us)).rowcount == 1)

    def remove(self, domain: str) -> bool:
        """False if it was not banned, or not any more: a call of ours may have done it whose answer was lost."""
        return self._database.transaction(lambda cursor: cursor.execute(self._remove, (domain,)).rowcount == 1)

    def all(self) -> list[str]:
        return [str(row[0]) for row in self._database.rows(self._all)]

    def covering(self, hostname: str) -> str | None:
        """The banned domain that `hostname` is or lies below; None if there is none. A port does not matter."""
        domain = hostname.partition(":")[0]
        while domain:
            if self._database.one(self._get, (domain,)) is not None:
                return domain
            domain = domain.partition(".")[2]
        return None
