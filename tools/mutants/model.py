"""What a mutant is. The data only: nothing here reads a file or starts a process."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One bug: in `file`, `old` (which occurs there exactly once) becomes `new`.

    `old` is as short as it can be and stay the only one, so that edits around it leave the mutant as it is.
    `why` completes the sentence "With it, …". `rule`: the number in docs/invariants.md that it breaks.
    `killers`: test ids, of which each alone notices the bug, and says so by a failed assertion, by a `pytest.raises`
    that saw nothing, or by one of `errors` (names of exceptions). Anything else, a broken import above all, is none.
    `hangs`: that a killer does not end is how this bug shows.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    rule: int
    killers: tuple[str, ...]
    errors: tuple[str, ...] = ()
    hangs: bool = False

    def apply(self, text: str) -> str:
        """The text of `file` with the bug in it. Raises ValueError unless `old` occurs exactly once."""
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"mutant {self.name}: its old text occurs {count} times in {self.file}, not once")
        return text.replace(self.old, self.new)
