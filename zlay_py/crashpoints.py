"""Named places between a host's socket and the disk where a crash must be survivable, each with what the next start
owes.

The parts of the relay call `reached` with them, in the order in which an event meets them; production hands in
`pass_by`, the crash tests end their own process there. Common to all: nothing that a consumer could see is missing or
stands under another seq, and no event comes out twice, those without a rev included.

Three of them are on the way of every frame: a call that does nothing, 0.05 µs each, of the several hundred µs that a
frame takes. The others are met once for each batch, save, start or stop.
"""

from collections.abc import Callable
from enum import StrEnum


class CrashPoint(StrEnum):
    """After a crash at one of them, the next start …"""

    # ── a start ──
    # … migrates again, and finds that done. The log is as the crash before left it.
    DATABASE_OPEN = "database_open"
    # A start has decided where to go on, and has cut nothing yet: … comes to the same or a higher seq.
    START_DECIDED = "start_decided"
    # The tail is cut: … finds nothing to cut, and must still not go back below where this one was.
    TAIL_CUT = "tail_cut"
    # A part of what SQL was behind the log is applied, with its mark: … goes on behind that mark.
    CATCH_UP_APPLIED = "catch_up_applied"
    # SQL is up to the log, no socket was read: … has nothing to apply.
    CAUGHT_UP = "caught_up"

    # ── a frame, until it is an entry ──
    # The frame is known to this process only: … asks the host for it.
    FRAME_READ = "frame_read"
    # The host is read live, and the place where that began is saved: … asks for what follows it.
    FIRST_MARK_SAVED = "first_mark_saved"
    # The host's seqs begin a new epoch in SQL, this process still counts in the old one: … reads it live, and no
    # record of the old epoch hides an event of the new one.
    EPOCH_BEGUN = "epoch_begun"
    # An answer is in force and not yet in SQL: … looks the DID up again, where an `#identity` has told of it; else it
    # believes what it knew before, as long as no account was moved by that answer.
    IDENTITIES_TAKEN = "identities_taken"
    # … knows the answers.
    IDENTITIES_SAVED = "identities_saved"
    # The account's row is on the disk, no record names its uid: … finds the row, and its uid is nobody else's.
    ACCOUNT_MADE = "account_made"
    # The account's row and identity name its new host, no record of it is in the log: … lets that host speak, not the
    # old one.
    ACCOUNT_MOVED = "account_moved"
    # The account's state in memory is behind the frame, the log has nothing of it: … judges the frame anew, by the
    # state that SQL and the log know.
    FRAME_JUDGED = "frame_judged"
    # The entry waits for the writer: as above.
    ENTRY_QUEUED = "entry_queued"

    # ── a batch ──
    # The new ceiling is durable under its other name: … finds the old one, which holds still.
    CEILING_WRITTEN = "ceiling_written"
    # The ceiling file has its name, which a loss of power may take back: … finds the old one or the new, and nothing
    # above the old one was given out.
    CEILING_RENAMED = "ceiling_renamed"
    # The ceiling is durable, nothing above the old one was given out: … may skip seqs, no more.
    CEILING_RAISED = "ceiling_raised"
    # The old segment is durable, its index is not there: … adds to that segment.
    SEGMENT_SYNCED = "segment_synced"
    # Its index file is there too, which nobody trusts: … the same.
    SEGMENT_SEALED = "segment_sealed"
    # A new segment's header is with the kernel, and may be in part or not at all on the disk: … clears away what can't
    # be read, or goes on in it.
    SEGMENT_HEADED = "segment_headed"
    # The header is durable, the name may be lost: … finds the new segment empty, or finds only the old one.
    SEGMENT_NAMED = "segment_named"
    # The new segment is durable and empty, the ceiling file names the old one: … goes on in the new one.
    SEGMENT_CREATED = "segment_created"
    # A part of the batch is with the kernel: … keeps whole records in their order, or cuts.
    PIECE_WRITTEN = "piece_written"
    # All bytes of a batch are with the kernel, none is acknowledged: … keeps whole records or cuts.
    BATCH_WRITTEN = "batch_written"
    # The batch is as durable as the mode asks, the writer has not heard of it: … has all of it.
    BATCH_DURABLE = "batch_durable"
    # Readers can see the batch, the seqs are not yet given back: as above.
    BATCH_PUBLISHED = "batch_published"
    # Flush mode: what was published is durable, no mark has moved over it: as above, and its host sends it again.
    LOG_SYNCED = "log_synced"
    # The hosts' marks in memory are behind the durable records, SQL has heard nothing: … finds by the log what the
    # hosts send again.
    MARKS_MOVED = "marks_moved"

    # ── what follows the log ──
    # A batch of account states is about to be applied: … applies it from the log.
    PROJECTION_BEGUN = "projection_begun"
    # Rows and applied seq are on the disk, memory still holds the batch: … does not apply it again, or harmlessly.
    PROJECTION_APPLIED = "projection_applied"
    # The marks are chosen, SQL has the old ones: … reads again from the old ones.
    CURSORS_CHOSEN = "cursors_chosen"
    # Marks, checkpoint and leftovers are on the disk, all or none: … reads from there.
    CURSORS_SAVED = "cursors_saved"
    # The oldest segment's name is gone, and a loss of power may bring it back: … has it or not, and the others.
    SEGMENT_UNLINKED = "segment_unlinked"
    # The segment is gone, its index is left: … removes that.
    SEGMENT_REMOVED = "segment_removed"

    # ── a stop, in its order ──
    # No host is read; frames are on their way: … asks the hosts for those that the log does not have.
    STOP_UNSUBSCRIBED = "stop_unsubscribed"
    # Every frame is judged, or parked: the same.
    STOP_LANES_DRAINED = "stop_lanes_drained"
    # Every entry is durable: … knows them all.
    STOP_LOG_WRITTEN = "stop_log_written"
    # SQL has all account states: … applies nothing.
    STOP_STATES_APPLIED = "stop_states_applied"
    # The hosts' places are saved: … is sent nothing that it has.
    STOP_CURSORS_SAVED = "stop_cursors_saved"
    # Everything is durable, the clean mark is not written: … is an unclean one that lost nothing.
    CLOSE_SYNCED = "close_synced"
    # The clean mark is durable: … goes on exactly there.
    CLOSE_MARKED = "close_marked"
    # Log and database are closed, the slot is still ours: … as above.
    STOP_CLOSED = "stop_closed"


Reached = Callable[[CrashPoint], object]


def pass_by(point: CrashPoint) -> None:
    """What production hands in: nothing happens."""
    del point
