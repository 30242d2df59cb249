"""What an error of the database means to us: a few kinds, by what the caller should do."""

from zlay_py.errors import LocalError


class StateUnavailableError(LocalError):
    """The database refused or did not answer (locked by a stranger, away, overloaded): try again later.

    Nothing was changed. The one exception: a server's connection that broke while COMMIT was on its way leaves it
    open whether the transaction took place. So every transaction here may be repeated, and says why it may.
    """


class StateRuleError(LocalError):
    """A row breaks a rule of the schema, or is not there although its id was handed out: a bug of ours. Don't retry."""
