"""The user as whom PostgreSQL runs: it refuses root, so root lends it another one."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.stack.errors import StackError

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user that processes may be started as; `None` numbers mean the user who is asking."""

    uid: int | None = None
    gid: int | None = None

    @property
    def for_subprocess(self) -> dict[str, Any]:
        """What subprocess needs to start something as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def reaches(self, path: Path) -> bool:
        """Whether this user gets to the path. Asked of the system itself: modes are not all that counts."""
        if self.uid is None:
            return True
        asked = subprocess.run(["/bin/sh", "-c", 'test -x "$0"', str(path)], cwd="/", **self.for_subprocess)
        return asked.returncode == 0

    def give(self, path: Path) -> None:
        """Make the path this user's own."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def unprivileged() -> Account:
    """The user who is asking, or for root one that may do little."""
    if os.getuid() != 0:
        return Account()
    for name in CANDIDATES:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise StackError(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as. "
        "Start as an ordinary user, or set DATABASE_URL."
    )
