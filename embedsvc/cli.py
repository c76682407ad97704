"""The command line: parse, build the configuration, run; nothing else."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import uvloop

from embedsvc import app, logs, supervisor
from embedsvc.config import Settings, load
from embedsvc.dev import handout, launcher, state
from embedsvc.doctor import command as doctor
from embedsvc.errors import ConfigurationError
from embedsvc.operator import (
    cache_command,
    calibrate_command,
    cost_command,
    keys_command,
    migrate_command,
    usage_command,
)
from rest_shim import edge

Command = Callable[[Settings, argparse.Namespace], None]


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit status. A mistake in the configuration is one line, and 2."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == doctor.run:  # a configuration that does not load is for it to tell
            return doctor.run(options)
        settings = load(options.config)
        logs.configure(settings.log)
        command: Command = options.command
        command(settings, options)
    except ConfigurationError as error:
        print(f"embedsvc: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read it has read enough; nothing is left to flush at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="embedsvc", description="A self-hosted embedding service.")
    parser.add_argument("--config", type=Path, help="the TOML file (default: embedsvc.toml)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="run the gRPC server")
    serve.set_defaults(command=_serve)
    up = commands.add_parser("up", help="run the server and Envoy on this machine, for development")
    up.set_defaults(command=_up)
    init = commands.add_parser("init", help="make a development CA, certificates and an API key")
    init.set_defaults(command=_init)
    render = commands.add_parser("render-edge", help="write Envoy's configuration")
    render.add_argument("--out", type=Path, default=state.EDGE, help="folder (default: %(default)s)")
    render.set_defaults(command=_render_edge)
    keys = commands.add_parser("keys", help="make, list, rotate and revoke API keys")
    keys_command.add_parsers(keys)
    keys.set_defaults(command=keys_command.run)
    usage = commands.add_parser("usage", help="show what was used, by whom, and what it saved")
    usage_command.add_arguments(usage)
    usage.set_defaults(command=usage_command.run)
    cost = commands.add_parser("cost", help="show what vectors cost here, beside OpenAI's prices")
    cost_command.add_arguments(cost)
    cost.set_defaults(command=cost_command.run)
    migrate = commands.add_parser("migrate", help="change which models answer for a name, step by step")
    migrate_command.add_parsers(migrate)
    cache = commands.add_parser("cache", help="show, forget and fill what is kept of answers")
    cache_command.add_parsers(cache)
    calibrate = commands.add_parser("calibrate", help="find the ranges of a model's int8 and uint8 vectors")
    calibrate_command.add_arguments(calibrate)
    calibrate.set_defaults(command=calibrate_command.run)
    examined = commands.add_parser("doctor", help="look at all that the service needs, and say what to do")
    doctor.add_arguments(examined)
    examined.set_defaults(command=doctor.run)
    return parser


def _serve(settings: Settings, options: argparse.Namespace) -> None:
    if settings.server.processes == 1:
        uvloop.run(app.serve(settings, partial(load, options.config)))
    else:
        logs.configure(settings.log, process=0)
        uvloop.run(supervisor.serve(settings))


def _up(settings: Settings, options: argparse.Namespace) -> None:
    state.prepare()
    asyncio.run(state.register(settings))
    asyncio.run(launcher.launch(settings, options.config))


def _init(settings: Settings, _options: argparse.Namespace) -> None:
    state.prepare()
    handout.hand_out(state.RUN)
    asyncio.run(state.register(settings))


def _render_edge(settings: Settings, options: argparse.Namespace) -> None:
    print(edge.render(settings, options.out))
