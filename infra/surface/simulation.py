"""Simulated scenes of water, fire and land as files: input for the commands, and the truth to compare with.

A kind of scene is an entry of `KINDS`: the simulator, what its result writes, and what the seed draws for the options
nobody stated.
"""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from infra.surface import land_scene_files, radar_scene_files, scene_files
from processors.quality import BadInputError
from processors.simulation import (
    burn_scene,
    damage_scene,
    landslide_scene,
    radar_water_scene,
    river_scene,
    ship_scene,
)


class Kind(NamedTuple):
    """A kind of scene."""

    simulator: Callable[..., Any]
    """Takes the seed first, everything else by name, `shape` among it."""
    files: Callable[[Any], scene_files.SceneFiles]
    """What its result writes."""
    drawn: Callable[[np.random.Generator], dict[str, Any]]
    """Options that the seed draws."""


KINDS: dict[str, Kind] = {
    "water": Kind(radar_water_scene.simulate_water_scene, radar_scene_files.of_water, radar_scene_files.drawn_water),
    "river": Kind(river_scene.simulate_river_scene, radar_scene_files.of_river, radar_scene_files.drawn_river),
    "ship": Kind(ship_scene.simulate_ship_scene, radar_scene_files.of_ships, radar_scene_files.drawn_ships),
    "fire": Kind(land_scene_files.simulate_fires, land_scene_files.of_fires, land_scene_files.drawn_fires),
    "burn": Kind(burn_scene.simulate_burn_scene, land_scene_files.of_burn, land_scene_files.drawn_burn),
    "landslide": Kind(
        landslide_scene.simulate_landslide_scene, land_scene_files.of_landslides, land_scene_files.drawn_landslides
    ),
    "damage": Kind(damage_scene.simulate_damage_scene, land_scene_files.of_damage, land_scene_files.drawn_damage),
}
"""Kinds of scene by the name the command knows them by."""


def run(kind: str, out: Path, seed: int, *, size: int = 400, **options: Any) -> dict[str, Any]:
    """Simulate a scene and write its files: cloud-optimized GeoTIFFs, vectors, `truth.json`.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    out : Path
        Folder, made where it is missing.
    seed : int
        Seed of all randomness; also of the options drawn.
    size : int
        Rows and columns.
    **options : Any
        Arguments of the simulator of that kind.

    Returns
    -------
    dict
        What `truth.json` holds: kind, seed, parameters, facts, files.

    Raises
    ------
    BadInputError
        `kind_unknown`, `parameter_invalid`.
    """
    if kind not in KINDS:
        raise BadInputError("kind_unknown", f"no scene is {kind!r}: {', '.join(KINDS)}")
    made = KINDS[kind]
    given = {"shape": (size, size), **made.drawn(np.random.default_rng([seed, 67])), **options}
    try:
        simulated = made.simulator(seed, **given)
    except (ValueError, TypeError) as error:
        raise BadInputError("parameter_invalid", f"this {kind} scene cannot be simulated: {error}") from error
    head = {"kind": kind, "seed": seed, "parameters": _with_defaults(made.simulator, given)}
    return scene_files.write(made.files(simulated), out, head=head)


def _with_defaults(simulator: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument of the simulator with its value."""
    signature = inspect.signature(simulator).parameters
    defaults = {name: part.default for name, part in signature.items() if part.default is not part.empty}
    return {**defaults, **given}
