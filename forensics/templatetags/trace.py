"""How statuses, times and durations look on the pages."""

from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

SIGNS = {
    "pending": "○", "blocked": "□", "ready": "○", "running": "◐", "waiting": "◇", "completed": "✓", "failed": "✕",
    "skipped": "↷", "cancelled": "⊘", "paused": "‖", "unknown": "?", "committed": "✓", "refused": "✕", "started": "◐",
    "reserved": "○", "accepted": "◐", "abandoned": "⊘", "compensated": "↶",
}  # fmt: skip


@register.filter
def sign(status: str) -> str:
    """A shape for each status, so that colour is never the only hint."""
    return SIGNS.get(status, "•")


@register.simple_tag
def pill(status: str) -> SafeString:
    return format_html(
        '<span class="pill is-{}"><span aria-hidden="true">{}</span> {}</span>', status, sign(status), status
    )


@register.simple_tag
def at(moment: datetime | None) -> SafeString | str:
    """A moment in UTC, to the second; all of it in the tooltip."""
    if moment is None:
        return "–"
    moment = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        moment.isoformat(),
        moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        moment.strftime("%d %b %H:%M:%S"),
    )


@register.simple_tag
def took(start: datetime | None, end: datetime | None) -> str:
    """How long something took, in the unit that a person would use."""
    if start is None or end is None:
        return "–"
    seconds = (end - start).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


@register.filter
def short(value: Any) -> str:
    """The end of a UUIDv7: its beginning is time, which neighbours share."""
    return str(value)[-8:]


@register.filter
def px(value: float) -> str:
    """A number for SVG, whatever the language of the page."""
    return f"{value:.1f}"
