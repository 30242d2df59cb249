"""All mutants, in the order in which they are run and listed. A new module of them is added here."""

from tools.mutants import cursors, fsyncs, ingest, projection, recovery, verification
from tools.mutants.model import Mutant

GROUPS: dict[str, tuple[Mutant, ...]] = {
    "Waiting for the disk": fsyncs.MUTANTS,
    "Recovery and seqs": recovery.MUTANTS,
    "Cursors and marks": cursors.MUTANTS,
    "Projection": projection.MUTANTS,
    "Judging events": ingest.MUTANTS,
    "Verification": verification.MUTANTS,
}
"""Title → mutants."""

MUTANTS: tuple[Mutant, ...] = tuple(mutant for group in GROUPS.values() for mutant in group)
