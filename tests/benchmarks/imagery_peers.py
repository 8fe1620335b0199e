"""Programs imagery benchmarks run beside ours: Debian's packages unpacked into a cache folder, nothing installed."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "terralimb" / "peers"
PACKAGES = ("otb-bin", "gdal-bin", "python3-gdal", "python3-numpy")


def unpacked() -> Path | None:
    """Folder with the tools, fetched once; None where that does not work."""
    root = CACHE / "root"
    if (root / "complete").exists():
        return root
    debs = CACHE / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    try:
        plan = subprocess.run(
            ["apt-get", "install", "-s", "--no-install-recommends", *PACKAGES],
            capture_output=True,
            text=True,
            check=True,
        )
        names = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
        subprocess.run(["apt-get", "download", *names], cwd=debs, capture_output=True, check=True)
        for deb in sorted(debs.glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(deb), str(root)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"peers: cannot be fetched ({error}); only our own figures follow")  # noqa: T201
        return None
    (root / "complete").touch()
    shutil.rmtree(debs)
    return root


def environment(root: Path) -> dict[str, str]:
    """Variables under which the unpacked tools run."""
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    folders = [libraries, root / "usr" / "lib", libraries / "blas", libraries / "lapack"]
    return {
        "PATH": f"{root / 'usr' / 'bin'}:/usr/bin:/bin",
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders),
        "OTB_APPLICATION_PATH": str(libraries / "otb" / "applications"),
        "PYTHONPATH": str(root / "usr" / "lib" / "python3" / "dist-packages"),
        "PROJ_LIB": str(root / "usr" / "share" / "proj"),
        "GDAL_DATA": str(root / "usr" / "share" / "gdal"),
        "OTB_LOGGER_LEVEL": "CRITICAL",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
        "LC_ALL": "C",
    }


def cpu_seconds(command: list[str], variables: dict[str, str]) -> float:
    """CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr[-600:] or done.stdout[-600:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Fetch the programs; 1 where that does not work."""
    root = unpacked()
    if root is not None:
        print(f"peers: {root}")  # noqa: T201
    return 0 if root is not None else 1


if __name__ == "__main__":
    raise SystemExit(main())
