"""Commands of the surface: water, fire, land and what lies on it, from rasters in files; one module a command."""

import typer

from infra.cli.surface import (
    burn,
    change,
    damage,
    exposure,
    fire,
    fire_list,
    landslide,
    navigable_change,
    per_pixel,
    river_width,
    ship,
    simulate,
    terrain,
    water,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Water, fire, land: products people act on, from rasters in files."
    "\n\nEvery result says where it does not know: 255 is no data, and the report counts what was left out and why.",
)
app.command("change")(change.change)
app.command("damage")(damage.damage)
app.command("vegetation")(per_pixel.vegetation)
app.command("land-cover")(per_pixel.land_cover)
app.command("fire")(fire.fire)
app.command("fire-list")(fire_list.fire_list)
app.command("burn")(burn.burn)
app.command("water")(water.water)
app.command("flood")(water.flood)
app.command("terrain")(terrain.terrain)
app.command("landslide")(landslide.landslide)
app.command("exposure")(exposure.exposure)
app.command("river-width")(river_width.river_width)
app.command("navigable-change")(navigable_change.navigable_change)
app.command("simulate")(simulate.simulate)
app.command("ship")(ship.ship)
