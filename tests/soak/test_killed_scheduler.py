"""Kill the scheduled main job at random moments, again and again: the same products, none doubled (`make soak`)."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

COMMAND = Path(sys.executable).with_name("terralimb")
KILLS = 10


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "TERRALIMB_HOME": str(home)}


def published(home: Path) -> dict[tuple[str, str], str]:
    with sqlite3.connect(home / "terralimb.sqlite") as connection:
        rows = connection.execute(
            "SELECT asset.item_id, asset.name, asset.sha256 FROM asset JOIN item ON item.id = asset.item_id"
            " AND item.revision = asset.revision WHERE item.state = 'published'"
        )
        return {(item, name): sha256 for item, name, sha256 in rows}


def demo(home: Path, *options: str) -> dict[str, object]:
    made = subprocess.run(
        [str(COMMAND), "demo", "--json", *options], env=environment(home), capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    summary: dict[str, object] = json.loads(made.stdout)
    return summary


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_kills_of_the_scheduled_run_change_nothing(tmp_path: Path) -> None:
    demo(tmp_path / "whole", "--no-airflow")
    home, generator = tmp_path / "killed", np.random.default_rng(2026)
    for _ in range(KILLS):
        child = subprocess.Popen(
            [str(COMMAND), "demo"], env=environment(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(generator.uniform(15.0, 80.0))
        child.send_signal(signal.SIGKILL)
        child.wait()
    demo(home)
    assert published(home) == published(tmp_path / "whole")
    with sqlite3.connect(home / "terralimb.sqlite") as connection:
        assert {count for (count,) in connection.execute("SELECT count(*) FROM item GROUP BY id")} == {1}
