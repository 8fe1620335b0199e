"""Everything this machine runs by itself: object store, ledger and, where wanted, delivery, push and scheduler."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra import database, object_store, private_files, settings
from infra.embedded import announcer, daemon, delivery_server, metadata_database, object_store_server, scheduler
from infra.stages import workspace

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Installation:
    """What is running."""

    settings: settings.Settings
    workspace: workspace.Workspace
    scheduler: scheduler.Scheduler | None
    delivery: delivery_server.DeliveryServer | None = None
    push: announcer.Announcer | None = None


class InstallationBusyError(Exception):
    """Another process runs the servers of this home."""


@contextlib.contextmanager
def running(
    chosen: settings.Settings,
    *,
    with_scheduler: bool,
    with_delivery: bool = False,
    with_push: bool = False,
    announce: Announce,
) -> Iterator[Installation]:
    """Start the servers, and end them however the block is left.

    Raises
    ------
    InstallationBusyError
        Another process already runs them.
    infra.embedded.daemon.DaemonError
        A server did not start.
    """
    _reach_loopback_directly()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(chosen))
        if chosen.s3_endpoint_url is None:
            announce("starting the object store")
            chosen = _with_object_store(chosen, stack)
        store = object_store.from_settings(chosen)
        for name in settings.BUCKETS:
            store.create_bucket(chosen.bucket(name))
        database.upgrade(chosen.resolved_database_url())
        delivery = _delivery(chosen, stack, announce) if with_delivery else None
        push = _push(chosen, stack) if with_push else None
        airflow = _scheduler(chosen, stack, announce) if with_scheduler else None
        yield Installation(chosen, workspace.open_workspace(chosen), airflow, delivery, push)


@contextlib.contextmanager
def attached(chosen: settings.Settings, *, announce: Announce) -> Iterator[workspace.Workspace]:
    """Work in the stores of this home: those another process runs, or our own for as long as the block lasts.

    Raises
    ------
    InstallationBusyError
        Another process is just starting or ending the servers.
    """
    server = object_store_server.running(chosen.home) if chosen.s3_endpoint_url is None else None
    if server is None:
        with running(chosen, with_scheduler=False, announce=announce) as here:
            yield here.workspace
        return
    _reach_loopback_directly()
    yield workspace.open_workspace(
        chosen.model_copy(
            update={"s3_endpoint_url": server.endpoint_url, "s3_credentials_file": server.credentials_file}
        )
    )


def _reach_loopback_directly() -> None:
    """Keep a proxy of the surroundings out of the way to our own servers, here and in every child."""
    for name in ("no_proxy", "NO_PROXY"):
        listed = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*listed, "127.0.0.1", "localhost"]))


def environment(chosen: settings.Settings) -> dict[str, str]:
    """Environment variables that give a child process the same settings; secrets stay in their file."""
    variables = {
        "TERRALIMB_HOME": str(chosen.home),
        "TERRALIMB_DATABASE_URL": chosen.resolved_database_url(),
        "TERRALIMB_S3_ENDPOINT_URL": chosen.s3_endpoint_url or "",
        "TERRALIMB_BUCKET_PREFIX": chosen.bucket_prefix,
    }
    if chosen.s3_credentials_file is not None:
        variables["TERRALIMB_S3_CREDENTIALS_FILE"] = str(chosen.s3_credentials_file)
    return variables


def _with_object_store(chosen: settings.Settings, stack: contextlib.ExitStack) -> settings.Settings:
    server = object_store_server.start(chosen.home)
    stack.callback(server.stop)
    return chosen.model_copy(
        update={"s3_endpoint_url": server.endpoint_url, "s3_credentials_file": server.credentials_file}
    )


def _delivery(
    chosen: settings.Settings, stack: contextlib.ExitStack, announce: Announce
) -> delivery_server.DeliveryServer:
    announce("starting the delivery service")
    service = delivery_server.start(chosen.home, environment=environment(chosen))
    stack.callback(service.stop)
    return service


def _push(chosen: settings.Settings, stack: contextlib.ExitStack) -> announcer.Announcer:
    pushing = announcer.start(chosen.home, environment=environment(chosen))
    stack.callback(pushing.stop)
    return pushing


def _scheduler(chosen: settings.Settings, stack: contextlib.ExitStack, announce: Announce) -> scheduler.Scheduler:
    announce("starting the scheduler's database")
    server, url = metadata_database.start(chosen.home)
    stack.callback(server.stop)
    announce("starting the scheduler")
    airflow = scheduler.start(chosen.home, database_url=url, environment=environment(chosen))
    stack.callback(airflow.stop)
    return airflow


@contextlib.contextmanager
def _lock(chosen: settings.Settings) -> Iterator[None]:
    private_files.make_folder(chosen.home)
    path = chosen.home / "installation.lock"
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallationBusyError(
                f"the servers of {chosen.home} are already run by another terralimb (its 'up' or 'demo'): "
                "stop that one, or choose another TERRALIMB_HOME"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


__all__ = ["Installation", "InstallationBusyError", "attached", "daemon", "environment", "running"]
