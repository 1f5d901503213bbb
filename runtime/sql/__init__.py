"""SQL that migrations apply: the gate and the guards."""

from pathlib import Path

HERE = Path(__file__).parent


def statements(name: str) -> list[str]:
    """The statements of a file, which `-- statement` lines set apart."""
    _, *parts = (HERE / name).read_text().split("-- statement\n")
    return parts
