"""The SQL of the hosts table, compiled once. Parameter order is the order of the arguments of each `text` call."""

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, func, literal_column, null, or_, select, update

from zlay_py.state import schema
from zlay_py.state.sql import SqlTexts

BANNED: ColumnElement[str] = literal_column("'banned'")
COLUMNS = (
    "id",
    "hostname",
    "tls",
    "status",
    "trusted",
    "account_limit",
    "account_count",
    "cursor",
    "epoch",
    "failure_kind",
    "sync11_mode",
    "created_us",
    "updated_us",
)


class HostTexts:
    """One attribute for each statement."""

    def __init__(self, sql: SqlTexts) -> None:
        row = schema.hosts.c
        rows = select(*(row[name] for name in COLUMNS))
        of_id = row.id == bindparam("of_id")
        change = update(schema.hosts)
        self.by_id = sql.text(rows.where(of_id), "of_id")
        self.by_name = sql.text(rows.where(row.hostname == bindparam("hostname")), "hostname")
        self.all = sql.text(rows.order_by(row.id))
        self.page = sql.page(rows.where(row.id > bindparam("after")).order_by(row.id), "after")
        self.created_since = sql.text(
            select(func.count()).select_from(schema.hosts).where(row.created_us >= bindparam("since")), "since"
        )
        self.count_by_status = sql.text(select(row.status, func.count()).select_from(schema.hosts).group_by(row.status))
        self.insert = self._insert(sql)
        self.set_status = sql.text(
            change.where(of_id, row.status != BANNED).values(
                status=bindparam("new_status"),
                failure_kind=bindparam("new_failure_kind"),
                updated_us=bindparam("now_us"),
            ),
            *("new_status", "new_failure_kind", "now_us", "of_id"),
        )
        self.unban = sql.text(
            change.where(of_id, row.status == BANNED).values(
                status=bindparam("new_status"), failure_kind=null(), updated_us=bindparam("now_us")
            ),
            *("new_status", "now_us", "of_id"),
        )
        self.set_account_limit = sql.text(
            change.where(of_id).values(account_limit=bindparam("new_limit"), updated_us=bindparam("now_us")),
            *("new_limit", "now_us", "of_id"),
        )
        self.set_sync11_mode = sql.text(
            change.where(of_id).values(sync11_mode=bindparam("new_mode"), updated_us=bindparam("now_us")),
            *("new_mode", "now_us", "of_id"),
        )
        new_cursor = bindparam("new_cursor", type_=BigInteger)
        self.save_cursor = sql.text(
            change.where(
                of_id, row.epoch == bindparam("of_epoch"), or_(row.cursor.is_(None), row.cursor < new_cursor)
            ).values(cursor=new_cursor),
            *("new_cursor", "of_id", "of_epoch", "new_cursor"),
        )
        self.begin_epoch = sql.text(
            change.where(of_id, row.epoch == bindparam("from_epoch")).values(
                cursor=new_cursor, epoch=row.epoch + literal_column("1")
            ),
            *("new_cursor", "of_id", "from_epoch"),
        )
        self.epoch = sql.text(select(row.epoch).where(of_id), "of_id")

    def _insert(self, sql: SqlTexts) -> str:
        """A new row; a known one takes the scheme, and trust where it is given now. Nothing else: see `upsert`."""
        row = schema.hosts.c
        names = [name for name in COLUMNS if name != "id"]
        insert = sql.insert(schema.hosts).values({name: bindparam(name) for name in names})
        new = insert.excluded
        statement = insert.on_conflict_do_update(
            index_elements=[row.hostname],
            set_={"tls": new.tls, "trusted": or_(row.trusted, new.trusted), "updated_us": new.updated_us},
            where=or_(row.tls != new.tls, and_(new.trusted, row.trusted.is_not(True))),
        ).returning(*(row[name] for name in COLUMNS))
        return sql.text(statement, *names)
