"""Load the science once, in the process that forks the tasks, instead of once per task.

Airflow imports the plugins folder when the scheduler starts; the local executor's workers and their tasks are forks of
it and find the modules loaded. Elsewhere (API server, triggerer, parsing) nothing is loaded.
"""

import importlib
import sys

if "scheduler" in sys.argv:
    for name in (
        *("downlink", "level0", "occultation", "occultation_day"),
        *("imagery", "sectors", "publish", "auxiliary", "landing"),
    ):
        importlib.import_module(f"infra.stages.{name}")
