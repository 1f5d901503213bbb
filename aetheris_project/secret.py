"""The secret key of a checkout for which nobody has set SECRET_KEY."""

import os
import secrets
from pathlib import Path


def kept_in(path: Path) -> str:
    """The key in this file, made on first use. Processes that start together agree on one."""
    try:
        return path.read_text()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(50))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its key counts
    finally:
        draft.unlink()
    return path.read_text()
