"""Airflow on this machine: its four components on loopback, LocalExecutor, state under the installation's home."""

import base64
import contextlib
import http
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import private_files
from infra.embedded import daemon
from infra.stages import chain

ROUTINE_SLOTS = 2
EMERGENCY_SLOTS = 1
READY_SECONDS = 120.0
ADMINISTRATOR = "admin"


@dataclass(frozen=True)
class Scheduler:
    """A running Airflow: its address and the processes behind it."""

    url: str
    daemons: tuple[daemon.Daemon, ...]
    password_file: Path

    def stop(self) -> None:
        """End all components."""
        for component in self.daemons:
            component.stop()

    def failed_component(self) -> daemon.Daemon | None:
        """A component that is no longer running, if any."""
        return next((component for component in self.daemons if component.pid() is None), None)


def dags_folder() -> Path:
    """Folder of the DAG bundle: `TERRALIMB_DAGS`, or `dags/` beside the packages."""
    named = os.environ.get("TERRALIMB_DAGS")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "dags"


def start(home: Path, *, database_url: str, environment: dict[str, str]) -> Scheduler:
    """Migrate the metadata database and start Airflow.

    Raises
    ------
    infra.embedded.daemon.DaemonError
        A component did not start; the message carries the end of its log.
    """
    folder = home / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    port = daemon.free_port(8080)
    variables = {**os.environ, **environment, **_configuration(folder, port, database_url)}
    components = _components(folder, port, variables)
    for component in components:
        component.stop()
    _migrate(folder, variables)
    running = Scheduler(f"http://127.0.0.1:{port}", components, folder / "passwords.json")
    try:
        for component in components:
            component.start()
        components[0].wait_until(lambda: _healthy(running.url), seconds=READY_SECONDS)
        _make_pool(running, chain.EMERGENCY_POOL, slots=EMERGENCY_SLOTS)
    except BaseException:
        running.stop()
        raise
    return running


def _components(folder: Path, port: int, variables: dict[str, str]) -> tuple[daemon.Daemon, ...]:
    # Airflow's log servers listen on every interface; logs are read from disk here, so they are not started.
    commands = {
        "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag-processor": ["dag-processor"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
    }
    return tuple(
        daemon.Daemon(name, [sys.executable, "-m", "airflow", *arguments], folder, variables)
        for name, arguments in commands.items()
    )


def _migrate(folder: Path, variables: dict[str, str]) -> None:
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    made = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)  # noqa: S603  ours
    (folder / "migrate.log").write_text(made.stdout + made.stderr)
    if made.returncode != 0:
        tail = "\n".join((made.stdout + made.stderr).splitlines()[-15:])
        raise daemon.DaemonError(f"airflow db migrate failed; the end of {folder / 'migrate.log'} says:\n{tail}")


def _configuration(folder: Path, port: int, database_url: str) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    passwords = folder / "passwords.json"
    if not passwords.exists():
        private_files.write(passwords, json.dumps({ADMINISTRATOR: secrets.token_urlsafe(12)}))
    options: dict[str, Any] = {
        "CORE__DAGS_FOLDER": dags_folder(),
        "CORE__PLUGINS_FOLDER": dags_folder() / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": ROUTINE_SLOTS + EMERGENCY_SLOTS,
        # Routine tasks cannot take the last place, so an emergency never waits for one to end.
        "CORE__DEFAULT_POOL_TASK_SLOT_COUNT": ROUTINE_SLOTS,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__FERNET_KEY": _fernet_key(folder / "fernet_key"),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMINISTRATOR}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
        "DATABASE__SQL_ALCHEMY_CONN": database_url,
        "DATABASE__SQL_ALCHEMY_POOL_SIZE": 5,
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__BASE_URL": url,
        "API__SECRET_KEY": daemon.secret(folder / "api_secret"),
        "API_AUTH__JWT_SECRET": daemon.secret(folder / "jwt_secret", length=64),
        "LOGGING__BASE_LOG_FOLDER": folder / "logs",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.5,
        "SCHEDULER__JOB_HEARTBEAT_SEC": 2,
        "SCHEDULER__ENABLE_HEALTH_CHECK": False,
        # A run cut by a kill is taken up again within seconds of the next start instead of minutes.
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 10,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 10,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": 5,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 30,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 5,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 300,
        "DAG_PROCESSOR__PARSING_PROCESSES": 1,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 120,
        "TRIGGERER__DEFAULT_CAPACITY": 50,
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    named = {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    return {"AIRFLOW_HOME": str(folder), "PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1", **named}


def _fernet_key(path: Path) -> str:
    if not path.exists():
        private_files.write(path, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return path.read_text()


def _healthy(url: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=2) as answer:  # noqa: S310  loopback
            health = json.load(answer)
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)
    return False


def active_runs(running: Scheduler) -> list[str]:
    """DAG runs that are queued or running, as `dag/run`."""
    answer = _request(running, "GET", "/api/v2/dags/~/dagRuns?state=running&state=queued&limit=100")
    return [f"{row['dag_id']}/{row['dag_run_id']}" for row in answer["dag_runs"]]


def trigger(running: Scheduler, dag_id: str) -> None:
    """Start one run of a DAG by hand."""
    _request(running, "POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": {}})


def _make_pool(running: Scheduler, name: str, *, slots: int) -> None:
    """Have a pool of the scheduler; one that is there keeps the slots the operator gave it."""
    about = {"name": name, "slots": slots, "description": "Answers to emergencies; nothing else runs in it"}
    try:
        _request(running, "POST", "/api/v2/pools", about)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.CONFLICT:
            raise


def _request(running: Scheduler, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if path != "/auth/token":
        headers["Authorization"] = f"Bearer {_token(running)}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{running.url}{path}", data=data, headers=headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  our own server on loopback
        loaded: dict[str, Any] = json.load(answer)
        return loaded


def _token(running: Scheduler) -> str:
    password = json.loads(running.password_file.read_text())[ADMINISTRATOR]
    answer = _request(running, "POST", "/auth/token", {"username": ADMINISTRATOR, "password": password})
    return str(answer["access_token"])
