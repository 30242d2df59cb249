"""From the log into SQL: what is applied, in which order, and with which mark."""

from tools.mutants.model import Mutant

ACCOUNTS = "zlay_py/state/accounts.py"
PROJECTOR = "zlay_py/workers/state_projector.py"
TESTS = "tests/workers/test_state_projector.py"
WRITER = "tests/workers/test_log_writer.py"

MUTANTS = (
    Mutant(
        name="rev-is-stored-where-it-shrinks",
        file=ACCOUNTS,
        old="row.rev < new_rev",
        new="row.rev != new_rev",
        why="a late event takes an account's rev back",
        rule=6,
        killers=("tests/state/test_accounts_store.py::test_a_rev_is_adopted_only_where_it_grows_bytewise",),
    ),
    Mutant(
        name="old-changes-are-applied-again",
        file=ACCOUNTS,
        old='row.applied_seq < bindparam("seq")',
        new='row.applied_seq != bindparam("seq")',
        why="a batch that comes again after a crash takes statuses back",
        rule=2,
        killers=("tests/state/test_accounts_repeated.py::test_a_part_of_a_batch_that_comes_again_changes_nothing",),
    ),
    Mutant(
        name="mark-has-a-transaction-of-its-own",
        file=ACCOUNTS,
        old="        self._database.transaction(lambda cursor: self._apply(cursor, batch, applied_seq))\n",
        new="        self._database.transaction(lambda cursor: self._apply(cursor, (), applied_seq))\n"
        "        self._database.transaction(lambda cursor: self._apply(cursor, batch, applied_seq))\n",
        why="a crash between the two loses a batch of account states for good",
        rule=2,
        killers=("tests/state/test_accounts_store.py::test_a_batch_and_its_mark_are_one_transaction",),
    ),
    Mutant(
        name="catching-up-skips-a-record",
        file=PROJECTOR,
        old="event_log.read(self.applied_seq + 1, bytes_max=CATCH_UP_BYTES)",
        new="event_log.read(self.applied_seq + 2, bytes_max=CATCH_UP_BYTES)",
        why="after a crash the first event that SQL has missed stays missing",
        rule=2,
        killers=(
            f"{TESTS}::test_catching_up_applies_what_the_log_has_and_an_empty_log_has_nothing",
            "tests/workers/test_frame_lanes.py::test_a_lost_projection_is_caught_up_from_the_log",
        ),
    ),
    Mutant(
        name="batch-is-dropped-when-sql-is-away",
        file=PROJECTOR,
        old="                retry_s = min(retry_s * 2, RETRY_S_MAX)\n                continue\n",
        new="                retry_s = min(retry_s * 2, RETRY_S_MAX)\n                break\n",
        why="account states that a locked database refused are never stored, and the mark passes them",
        rule=2,
        killers=("tests/workers/test_projection_facts.py::test_what_sql_refused_is_applied_when_it_is_back",),
    ),
    Mutant(
        name="backlog-has-no-bound",
        file=PROJECTOR,
        old="        return len(self._backlog) >= self._backlog_max\n",
        new="        return len(self._backlog) < 0\n",
        why="a database that is away for an hour takes all memory",
        rule=8,
        killers=(f"{TESTS}::test_while_sql_is_away_events_go_on_up_to_the_bound_and_nothing_is_lost",),
    ),
    Mutant(
        name="bad-entry-takes-its-batch-along",
        file="zlay_py/workers/log_writer.py",
        old="            self._write(batch[half:])\n",
        new="",
        why="one event that can't be logged costs others that could",
        rule=5,
        killers=(f"{WRITER}::test_an_entry_that_can_not_be_logged_is_left_out_and_the_others_keep_their_order",),
    ),
)
