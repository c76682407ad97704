"""`embedsvc doctor`: everything that is looked at, and the exit status that sums it up."""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from rich.console import Console

from embedsvc import logs
from embedsvc.config import LogSettings, Settings, load
from embedsvc.doctor import (
    cache,
    certificates,
    configuration,
    convex,
    disk,
    envoy,
    gpu,
    machine,
    models,
    ports,
    providers,
    report,
    revoked,
    secrets,
    server,
    sqlite,
)
from embedsvc.doctor.check import Check, Look, examine, in_thread
from embedsvc.doctor.finding import Finding
from embedsvc.errors import ConfigurationError

SLOW_SECONDS = 60.0
"""For what reads large files, or imports torch."""

WELL, ILL, UNCONFIGURED = 0, 1, 2

MACHINE = (
    Check(machine.SUBJECT, in_thread(machine.look), SLOW_SECONDS),
    Check(gpu.SUBJECT, gpu.look, SLOW_SECONDS),
)
"""What can be looked at whatever the configuration is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("--json", action="store_true", help="for programs: a list of findings")


def run(options: argparse.Namespace) -> int:
    """Look at everything; return 0 if nothing is wrong, 1 if something is, 2 without a configuration."""
    logs.configure(LogSettings(level="error"))
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    try:
        settings = load(options.config)
    except ConfigurationError as error:
        defaults = Settings.model_construct()  # neither file nor environment is read
        findings = [configuration.refused(error), *await examine(MACHINE, defaults)]
        status = UNCONFIGURED
    else:
        findings = await examine(_checks(settings), settings)
        status = ILL if any(finding.level == "error" for finding in findings) else WELL
    _show(findings, options)
    return status


def _checks(settings: Settings) -> Sequence[Check]:
    """In the order in which a service is set up."""
    store: Look = in_thread(sqlite.look) if settings.store.kind == "sqlite" else convex.look
    return (
        Check(configuration.SUBJECT, in_thread(configuration.look)),
        Check(secrets.SUBJECT, secrets.look, SLOW_SECONDS),
        Check(certificates.SUBJECT, in_thread(certificates.look)),
        Check(revoked.SUBJECT, in_thread(revoked.look)),
        Check(models.SUBJECT, in_thread(models.look), SLOW_SECONDS),
        Check(disk.SUBJECT, in_thread(disk.look)),
        *MACHINE,
        Check(sqlite.SUBJECT, store, SLOW_SECONDS),
        Check(cache.SUBJECT, cache.look),
        Check(providers.SUBJECT, providers.look, SLOW_SECONDS),
        Check(ports.SUBJECT, ports.look),
        Check(server.SUBJECT, server.look),
        Check(envoy.SUBJECT, envoy.look),
    )


def _show(findings: Sequence[Finding], options: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() else report.WIDE)
    if options.json:
        console.out(report.as_json(findings), highlight=False)
    else:
        report.show(findings, console)
