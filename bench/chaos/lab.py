"""A site made for one run, and gone after it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.chaos.disk import Disk, FileSizeQuota, move_messages_to, small_disk
from bench.chaos.run import Outcome, Plan, run
from bench.chaos.site import OwnSite, postgresql_site, sqlite_site

DATABASES = ("sqlite", "postgresql")


def torment(database: str, folder: Path, plan: Plan, prepared: Path | None = None) -> Outcome:
    """On SQLite one process, on PostgreSQL two that share a Redis. ``folder`` has to be empty, and its path short."""
    with ExitStack() as stack:
        on_disk = folder / ("var" if database == "sqlite" else "messages")
        tmpfs = small_disk(on_disk, messages=plan.messages)
        if tmpfs is not None:
            stack.callback(tmpfs.close)
        disk: Disk | None = tmpfs
        site: OwnSite
        if database == "sqlite":
            site = stack.enter_context(sqlite_site(folder, prepared))
            disk = disk or FileSizeQuota(site)
        else:
            site = stack.enter_context(postgresql_site(folder, prepared))
            if tmpfs is not None:
                move_messages_to(on_disk, site)
        outcome = run(site, plan, disk)
        how = disk.how if disk else "not at all, as a tablespace on a small tmpfs needs root"
        return replace(outcome, figures={**outcome.figures, "disk_filled_by": how})
