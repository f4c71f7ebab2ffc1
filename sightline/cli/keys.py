"""``sightline keys``: who may use the HTTP API. None of it loads a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sightline.cli.completing import collection_names
from sightline.cli.opening import opened_by
from sightline.cli.options import Data, Json

if TYPE_CHECKING:
    from sightline.settings import Settings
    from sightline.store.access import Key
    from sightline.wiring import Installation

Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")]
Collections = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        "-c",
        metavar="NAME",
        help="Bind it to this collection; give it several times. Else: all.",
        autocompletion=collection_names,
    ),
]
Expires = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="How long it lasts (90d, 12h, 4w) or until when (2027-01-01)."),
]
keys = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API: make, list and revoke them.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys.command()(create)
    keys.command("list")(list_keys)
    keys.command()(revoke)
    keys.command()(clear)
    app.add_typer(keys, name="keys")


def create(
    name: Name,
    scope: Annotated[
        Literal["read", "write", "admin"], typer.Option(help="What it may do; each includes those before it.")
    ] = "read",
    collection: Collections = None,
    expires: Expires = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Make a key and print it, this once. As soon as there is one, the API answers nobody without.

    The first one is an admin's (--scope admin), unless SIGHTLINE_API__KEY is set.
    """
    from sightline.cli.output import print_json
    from sightline.console import answers, remarks
    from sightline.settings import load_settings
    from sightline.store.access import end_of
    from sightline.store.issuing import issue
    from sightline.wiring import open_installation

    seconds, until = (None, None) if expires is None else end_of(expires)
    settings = load_settings(data)
    with open_installation(settings) as services:
        own = settings.api.key is not None
        made, secret = issue(services.catalog, name, scope, collection or None, seconds, until, has_other=own)
    _note("key created", made)
    if json:
        print_json(_row(made) | {"key": secret})
        return
    answers().print(secret, markup=False, highlight=False, soft_wrap=True)
    remarks().print("Keep it now: it is shown only this once.")


def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those that are revoked.")] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """List the keys, without their secrets."""
    from sightline.cli.output import print_json
    from sightline.cli.tables import print_table
    from sightline.console import answers

    with _opened(data) as (settings, services):
        now = services.catalog.known_keys().now
        found = services.catalog.keys(revoked=revoked)
    if json:
        print_json({"settings_key": settings.api.key is not None, "keys": [_row(one) for one in found]})
    elif found:
        columns = ("name", "scope", "collections", "state", "expires", "last used", "id")
        print_table(columns, [_cells(one, now) for one in found])
    else:
        own = settings.api.key is not None
        said = "SIGHTLINE_API__KEY is the only key." if own else "No keys: the API answers everybody."
        answers().print(said)


def revoke(name: Name, data: Data = None, json: Json = False) -> None:
    """Revoke a key: servers refuse it within a second, and the sessions that it opened."""
    from sightline.cli.output import print_json
    from sightline.console import answers, remarks
    from sightline.store.access import lacks_admin

    with _opened(data) as (settings, services):
        gone = services.catalog.revoke_key(name)
        is_last = settings.api.key is None and lacks_admin(services.catalog.known_keys())
    _note("key revoked", gone)
    if json:
        print_json(_row(gone) | {"no_admin_left": is_last})
        return
    answers().print(f"{name} revoked", markup=False)
    if is_last:
        remarks().print(
            "No admin's key is left: `sightline keys create NAME --scope admin` makes one, and `sightline "
            "keys clear` lets everybody in."
        )


def clear(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    json: Json = False,
) -> None:
    """Forget all keys, also those that are revoked: the API answers everybody again."""
    from sightline.cli.output import print_json
    from sightline.console import answers
    from sightline.errors import InputError

    if not yes:
        if not sys.stdin.isatty():
            raise InputError(
                "Forgetting all keys opens the API to everybody: say --yes, for nobody can be asked."
            )
        typer.confirm("Forget all keys, and let everybody in?", abort=True, err=True)
    with _opened(data) as (_, services):
        count = services.catalog.clear_keys()
    _note("keys cleared", None)
    if json:
        print_json({"cleared": count})
    else:
        answers().print(f"{count} keys forgotten")


@contextmanager
def _opened(data: Any) -> Iterator[tuple[Settings, Installation]]:
    from sightline.settings import load_settings

    settings = load_settings(data)
    with opened_by(settings) as services:
        yield settings, services


def _note(action: str, key: Key | None) -> None:
    """The audit line, as a server's: JSON on stderr."""
    from sightline.processes.logs import audit_on_stderr

    with audit_on_stderr() as log:
        fields = {"address": "command line", "action": action, "status": 0}
        subject = {} if key is None else {"subject": key.name, "key_id": key.id, "scope": key.scope}
        log.info("%s", action, extra={"audit": "key", **fields, **subject})


def _row(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "collections": None if key.collections is None else list(key.collections),
        **{
            name: _moment(getattr(key, name))
            for name in ("created_at", "expires_at", "revoked_at", "last_used_at")
        },
    }


def _cells(key: Key, now: float) -> list[str]:
    state = "revoked" if key.revoked_at is not None else "expired" if key.is_over(now) else "good"
    bound = "all" if key.collections is None else ", ".join(key.collections)
    times = [(_moment(at) or "never")[:16].replace("T", " ") for at in (key.expires_at, key.last_used_at)]
    return [key.name, key.scope, bound, state, *times, key.id]


def _moment(seconds: float | None) -> str | None:
    from sightline.store.moments import moment_at

    return None if seconds is None else moment_at(seconds).isoformat(timespec="seconds")
