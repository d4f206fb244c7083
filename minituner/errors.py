"""The one exception for a user's mistake: it says where, what, and how to mend it."""

from __future__ import annotations

from pathlib import Path


class UserError(ValueError):
    """Something the user gave cannot be used.

    Args:
        where: The place, as an editor would open it: a path, ``path:line`` or ``path: key``.
        what: What is wrong, in one short clause.
        found: What stands there.
        expected: What should stand there.
        mend: The one thing to do about it.
    """

    def __init__(
        self, where: str | Path, what: str, *, found: object, expected: str, mend: str
    ) -> None:
        self.where = str(where)
        self.what = what
        super().__init__(
            f"{where}: {what}\n  found:    {found}\n  expected: {expected}\n  to mend:  {mend}"
        )
