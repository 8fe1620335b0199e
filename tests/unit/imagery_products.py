"""Small products of other missions, written by their published formats, with numbers chosen by the test.

Field names and layout: Sentinel-2 Products Specification Document, Sentinel-1 Product Specification, Landsat Collection
2 metadata (LSDS-1415), HDF-EOS5 structure metadata, GF level 1A metadata and RPB files.
"""

import json
import warnings
import zipfile
from pathlib import Path

import netCDF4
import numpy as np
import rasterio
import rasterio.errors
from affine import Affine

UTM = "EPSG:32648"
CORNER = (600_000.0, 3_300_000.0)
BAND_IDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]


def write_raster(
    path: Path, numbers: np.ndarray, *, resolution: float = 10.0, driver: str = "GTiff", placed: bool = True, **options
) -> Path:
    """One band or a stack as a raster whose upper left corner is `CORNER`."""
    layers = numbers if numbers.ndim == 3 else numbers[None]
    place = {"crs": UTM, "transform": Affine(resolution, 0, CORNER[0], 0, -resolution, CORNER[1])}
    profile = {**(place if placed else {}), **options}
    count, height, width = layers.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"count": count, "height": height, "width": width, "dtype": layers.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, **size, **profile) as out:
            out.write(layers)
    return path


def sentinel2_product_xml(*, level: str, baseline: str, offsets: dict[str, int] | None, nodata: bool = True) -> str:
    surface = level == "2A"
    tag = "BOA_ADD_OFFSET" if surface else "RADIO_ADD_OFFSET"
    group = "BOA_ADD_OFFSET_VALUES_LIST" if surface else "Radiometric_Offset_List"
    listed = (
        "".join(
            f'<{tag} band_id="{number}">{offsets[band]}</{tag}>'
            for number, band in enumerate(BAND_IDS)
            if band in offsets
        )
        if offsets
        else ""
    )
    quantification = (
        '<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
        "</QUANTIFICATION_VALUES_LIST>"
        if surface
        else '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
    )
    special = "".join(
        f"<Special_Values><SPECIAL_VALUE_TEXT>{text}</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>{index}"
        f"</SPECIAL_VALUE_INDEX></Special_Values>"
        for text, index in ((("NODATA", 0),) if nodata else ()) + (("SATURATED", 65535),)
    )
    bands = "".join(
        f'<Spectral_Information bandId="{number}" physicalBand="{band}"/>' for number, band in enumerate(BAND_IDS)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
<n1:General_Info><Product_Info><PRODUCT_START_TIME>2024-05-15T03:25:41.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>S2A_MSIL{level}_20240515T032541_N{baseline.replace(".", "")}_R018_T48RXU_20240515T072211.SAFE</PRODUCT_URI>
<PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake datatakeIdentifier="GS2A"><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME></Datatake></Product_Info>
<Product_Image_Characteristics>{special}{quantification}<{group}>{listed}</{group}>
<Spectral_Information_List>{bands}</Spectral_Information_List></Product_Image_Characteristics></n1:General_Info>
</n1:Level-{level}_User_Product>"""


TILE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-2A_Tile_Metadata.xsd">
<n1:General_Info><SENSING_TIME metadataLevel="Standard">2024-05-15T03:36:02.345Z</SENSING_TIME></n1:General_Info>
<n1:Geometric_Info><Tile_Angles><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">19.25</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">112.5</AZIMUTH_ANGLE></Mean_Sun_Angle></Tile_Angles></n1:Geometric_Info>
</n1:Level-2A_Tile_ID>"""


def sentinel2_safe(
    folder: Path,
    bands: dict[str, np.ndarray],
    *,
    level: str = "2A",
    baseline: str = "05.10",
    offsets: dict[str, int] | None = None,
    scl: np.ndarray | None = None,
    day: str = "20240515",
    **options,
) -> Path:
    """A SAFE folder of lossless JPEG 2000 bands; band names such as B02_10m (level 2A) or B02 (level 1C)."""
    safe = folder / f"S2A_MSIL{level}_{day}T032541_N{baseline.replace('.', '')}_R018_T48RXU_{day}T072211.SAFE"
    granule = safe / "GRANULE" / f"L{level}_T48RXU_A046478_{day}T033548"
    lossless = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"}
    for name, numbers in bands.items():
        size = int(name.split("_")[1][:-1]) if "_" in name else {"B01": 60, "B05": 20, "B11": 20}.get(name, 10)
        inside = granule / "IMG_DATA" / (f"R{size}m" if "_" in name else "")
        write_raster(inside / f"T48RXU_{day}T032541_{name}.jp2", numbers, resolution=size, **lossless)
    if scl is not None:
        write_raster(granule / "IMG_DATA" / "R20m" / f"T48RXU_{day}T032541_SCL_20m.jp2", scl, resolution=20, **lossless)
    given = dict.fromkeys(BAND_IDS, -1000) if offsets is None else offsets
    text = sentinel2_product_xml(level=level, baseline=baseline, offsets=given, **options)
    stamp = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    (safe / f"MTD_MSIL{level}.xml").write_text(text.replace("20240515", day))
    (granule / "MTD_TL.xml").write_text(TILE_XML.replace("2024-05-15", stamp))
    return safe


def zipped(folder: Path) -> Path:
    """The same product as a ZIP archive."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for inside in sorted(folder.rglob("*")):
            archive.write(inside, inside.relative_to(folder.parent))
    return path


def sentinel2_copies(folder: Path, bands: dict[str, np.ndarray], *, properties: dict, offset: float | None) -> Path:
    """Cloud-optimized copies with their STAC item."""
    assets = {}
    for key, numbers in bands.items():
        write_raster(folder / f"{key}.tif", numbers, nodata=0)
        about = {"nodata": 0, "scale": 0.0001, **({} if offset is None else {"offset": offset})}
        assets[key] = {"href": f"https://example.org/S2A/{key}.tif", "raster:bands": [about]}
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2A_48RXU_20240515_0_L2A",
        "properties": {
            "datetime": "2024-05-15T03:36:02Z",
            "platform": "sentinel-2a",
            "view:sun_elevation": 70.75,
            "view:sun_azimuth": 112.5,
            **properties,
        },
        "assets": assets,
    }
    path = folder / "item.json"
    path.write_text(json.dumps(item))
    return path


LANDSAT_LEVEL2_MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    LANDSAT_PRODUCT_ID = "LC09_L2SP_127039_20240515_20240516_02_T1"
    PROCESSING_LEVEL = "L2SP"
    FILE_NAME_BAND_4 = "LC09_L2SP_127039_20240515_20240516_02_T1_SR_B4.TIF"
    FILE_NAME_BAND_5 = "LC09_L2SP_127039_20240515_20240516_02_T1_SR_B5.TIF"
    FILE_NAME_BAND_ST_B10 = "LC09_L2SP_127039_20240515_20240516_02_T1_ST_B10.TIF"
    FILE_NAME_QUALITY_L1_PIXEL = "LC09_L2SP_127039_20240515_20240516_02_T1_QA_PIXEL.TIF"
    FILE_NAME_ATMOSPHERIC_OPACITY = "LC09_L2SP_127039_20240515_20240516_02_T1_SR_QA_AEROSOL.TIF"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "LANDSAT_9"
    SENSOR_ID = "OLI_TIRS"
    DATE_ACQUIRED = 2024-05-15
    SCENE_CENTER_TIME = "03:24:51.1234560Z"
    SUN_AZIMUTH = 115.25
    SUN_ELEVATION = 66.50
    EARTH_SUN_DISTANCE = 1.0110
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    QUANTIZE_CAL_MAX_BAND_4 = 65535
    QUANTIZE_CAL_MIN_BAND_4 = 1
    REFLECTANCE_MULT_BAND_4 = 2.75e-05
    REFLECTANCE_MULT_BAND_5 = 2.75e-05
    REFLECTANCE_ADD_BAND_4 = -0.2
    REFLECTANCE_ADD_BAND_5 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
    TEMPERATURE_MULT_BAND_ST_B10 = 0.00341802
    TEMPERATURE_ADD_BAND_ST_B10 = 149.0
  END_GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
    REFLECTANCE_MULT_BAND_5 = 2.0000E-05
    REFLECTANCE_ADD_BAND_5 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""

LANDSAT_LEVEL1_MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    LANDSAT_PRODUCT_ID = "LC09_L1TP_127039_20240515_20240516_02_T1"
    FILE_NAME_BAND_4 = "LC09_L1TP_127039_20240515_20240516_02_T1_B4.TIF"
    FILE_NAME_BAND_10 = "LC09_L1TP_127039_20240515_20240516_02_T1_B10.TIF"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "LANDSAT_9"
    SENSOR_ID = "OLI_TIRS"
    DATE_ACQUIRED = 2024-05-15
    SCENE_CENTER_TIME = "03:24:51.1234560Z"
    SUN_AZIMUTH = -175.00
    SUN_ELEVATION = 30.00
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL1_MIN_MAX_PIXEL_VALUE
    QUANTIZE_CAL_MAX_BAND_4 = 65535
    QUANTIZE_CAL_MIN_BAND_4 = 1
    QUANTIZE_CAL_MAX_BAND_10 = 65535
    QUANTIZE_CAL_MIN_BAND_10 = 1
  END_GROUP = LEVEL1_MIN_MAX_PIXEL_VALUE
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
    RADIANCE_MULT_BAND_10 = 3.8000E-04
    RADIANCE_ADD_BAND_10 = 0.10000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
  GROUP = LEVEL1_THERMAL_CONSTANTS
    K1_CONSTANT_BAND_10 = 799.0284
    K2_CONSTANT_BAND_10 = 1329.2405
  END_GROUP = LEVEL1_THERMAL_CONSTANTS
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def landsat_scene(folder: Path, mtl: str, layers: dict[str, np.ndarray]) -> Path:
    """A Landsat folder; layer names are the ends of the file names, such as SR_B4."""
    stem = next(line.split('"')[1] for line in mtl.splitlines() if "LANDSAT_PRODUCT_ID" in line)
    for suffix, numbers in layers.items():
        write_raster(folder / f"{stem}_{suffix}.TIF", numbers, resolution=30.0)
    (folder / f"{stem}_MTL.txt").write_text(mtl)
    return folder


def sentinel1_geolocation(shape: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Tie points (line, pixel, longitude, latitude) of a slightly curved, turned image."""
    points = []
    for line in np.linspace(0, shape[0] - 1, 4).round():
        for pixel in np.linspace(0, shape[1] - 1, 5).round():
            east = 106.5 + 1.05e-4 * pixel + 2.0e-5 * line + 2e-10 * pixel**2
            north = 29.9 - 9.0e-5 * line + 1.8e-5 * pixel
            points.append((round(line), round(pixel), east, north))
    return points


def sentinel1_safe(folder: Path, numbers: dict[str, np.ndarray], *, old_noise: bool = False, kind: str = "GRD") -> Path:
    """A GRD SAFE: gain 500 to 400 across the image, noise 1000 to 2000 squared numbers, doubled from line 20."""
    safe = folder / "S1A_IW_GRDH_1SDV_20240515T105432_20240515T105457_053889_068C8A_1B2C.SAFE"
    for polarization, values in numbers.items():
        rows, columns = values.shape
        stem = f"s1a-iw-grd-{polarization}-20240515t105432-20240515t105457-053889-068c8a-001"
        calibration = "".join(
            f"<calibrationVector><azimuthTime>2024-05-15T10:54:32.0</azimuthTime><line>{line}</line>"
            f'<pixel count="2">0 {columns - 1}</pixel><sigmaNought count="2">5.0e+02 4.0e+02</sigmaNought>'
            f'<betaNought count="2">3.0e+02 3.0e+02</betaNought><gamma count="2">4.5e+02 3.5e+02</gamma>'
            f'<dn count="2">3.0e+02 3.0e+02</dn></calibrationVector>'
            for line in (0, rows - 1)
        )
        if old_noise:
            noise = (
                f'<noiseVectorList><noiseVector><line>0</line><pixel count="2">0 {columns - 1}</pixel>'
                f'<noiseLut count="2">1000 2000</noiseLut></noiseVector></noiseVectorList>'
            )
        else:
            noise = (
                f'<noiseRangeVectorList><noiseRangeVector><line>0</line><pixel count="2">0 {columns - 1}</pixel>'
                f'<noiseRangeLut count="2">1000 2000</noiseRangeLut></noiseRangeVector></noiseRangeVectorList>'
                f"<noiseAzimuthVectorList><noiseAzimuthVector><swath>IW1</swath>"
                f"<firstAzimuthLine>20</firstAzimuthLine><firstRangeSample>0</firstRangeSample>"
                f"<lastAzimuthLine>{rows - 1}</lastAzimuthLine><lastRangeSample>{columns - 1}</lastRangeSample>"
                f'<line count="2">20 {rows - 1}</line><noiseAzimuthLut count="2">2.0 2.0</noiseAzimuthLut>'
                f"</noiseAzimuthVector></noiseAzimuthVectorList>"
            )
        points = "".join(
            f"<geolocationGridPoint><line>{line}</line><pixel>{pixel}</pixel><latitude>{north:.12e}</latitude>"
            f"<longitude>{east:.12e}</longitude><height>3.0e+02</height><incidenceAngle>3.8e+01</incidenceAngle>"
            f"</geolocationGridPoint>"
            for line, pixel, east, north in sentinel1_geolocation((rows, columns))
        )
        header = (
            f"<adsHeader><missionId>S1A</missionId><productType>{kind}</productType>"
            f"<polarisation>{polarization.upper()}</polarisation><startTime>2024-05-15T10:54:32.012345</startTime>"
            f"</adsHeader>"
        )
        annotation = safe / "annotation"
        (annotation / "calibration").mkdir(parents=True, exist_ok=True)
        (annotation / f"{stem}.xml").write_text(
            f"<product>{header}<geolocationGrid><geolocationGridPointList>{points}</geolocationGridPointList>"
            f"</geolocationGrid></product>"
        )
        (annotation / "calibration" / f"calibration-{stem}.xml").write_text(
            f"<calibration><calibrationVectorList>{calibration}</calibrationVectorList></calibration>"
        )
        (annotation / "calibration" / f"noise-{stem}.xml").write_text(f"<noise>{noise}</noise>")
        write_raster(safe / "measurement" / f"{stem}.tiff", values, placed=False)
    (safe / "manifest.safe").write_text("<xfdu/>")
    return safe


STRUCTURE = """GROUP=SwathStructure
END_GROUP=SwathStructure
GROUP=GridStructure
	GROUP=GRID_1
		GridName="VIIRS_Grid_1km_2D"
		XDim=12
		YDim=10
		UpperLeftPointMtrs=(10007554.677000,3335851.559000)
		LowerRightMtrs=(10018674.182200,3326585.304667)
		Projection=HE5_GCTP_SNSOID
		ProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)
		SphereCode=-1
	END_GROUP=GRID_1
	GROUP=GRID_2
		GridName="VIIRS_Grid_500m_2D"
		XDim=24
		YDim=20
		UpperLeftPointMtrs=(10007554.677000,3335851.559000)
		LowerRightMtrs=(10018674.182200,3326585.304667)
		Projection=HE5_GCTP_SNSOID
		ProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)
		SphereCode=-1
	END_GROUP=GRID_2
END_GROUP=GridStructure
END
"""


def viirs_file(path: Path, fields: dict[str, np.ndarray], *, structure: str | None = STRUCTURE, **attributes) -> Path:
    """An HDF-EOS5 file as VNP09GA lays it out; attributes of the fields may be given or, as None, left out."""
    given = {"scale_factor": 1e-4, "add_offset": 0.0, "valid_range": np.array([-100, 16000], np.int16)} | attributes
    fill = given.pop("_FillValue", -28672)
    with netCDF4.Dataset(path, "w") as out:
        out.createGroup("HDFEOS INFORMATION")
        if structure is not None:
            out["HDFEOS INFORMATION"].createVariable("StructMetadata.0", str)[...] = structure
        for name, numbers in fields.items():
            size = "500m" if numbers.shape == (20, 24) else "1km"
            group = out.createGroup(f"HDFEOS/GRIDS/VIIRS_Grid_{size}_2D/Data Fields")
            for axis, length in zip(("YDim", "XDim"), numbers.shape, strict=True):
                if axis not in group.dimensions:
                    group.createDimension(axis, length)
            variable = group.createVariable(
                name, "i2", ("YDim", "XDim"), fill_value=fill if fill is not None else False
            )
            variable.set_auto_maskandscale(False)
            variable.setncatts({key: value for key, value in given.items() if value is not None})
            variable[...] = numbers
    return path


GAOFEN_XML = """<?xml version="1.0" encoding="UTF-8"?>
<ProductMetaData>
  <SatelliteID>GF1</SatelliteID><SensorID>WFV3</SensorID><SceneID>9876543</SceneID><ProductLevel>LEVEL1A</ProductLevel>
  <Bands>1,2,3,4</Bands><CenterTime>2024-05-15 11:36:00</CenterTime><ReceiveTime>2024-05-15 11:37:09</ReceiveTime>
  <SolarAzimuth>{azimuth}</SolarAzimuth><SolarZenith>{zenith}</SolarZenith>
  <TopLeftLatitude>29.95</TopLeftLatitude><TopLeftLongitude>106.45</TopLeftLongitude>
  <TopRightLatitude>29.95</TopRightLatitude><TopRightLongitude>106.55</TopRightLongitude>
  <BottomRightLatitude>29.85</BottomRightLatitude><BottomRightLongitude>106.55</BottomRightLongitude>
  <BottomLeftLatitude>29.85</BottomLeftLatitude><BottomLeftLongitude>106.45</BottomLeftLongitude>
</ProductMetaData>
"""


def camera_coefficients() -> tuple[list[float], np.ndarray]:
    """Offsets and scales, and coefficients in the order of RPC00B, of a nearly affine camera that looks aslant."""
    scalars = [99.5, 149.5, 29.9, 106.5, 400.0, 110.0, 160.0, 0.02, 0.03, 500.0]
    coefficients = np.zeros((4, 20))
    coefficients[0, [0, 1, 2, 3, 8]] = 0.001, 0.05, -0.95, 0.002, 0.0004
    coefficients[1, [0, 2]] = 1.0, 0.0005
    coefficients[2, [0, 1, 2, 3, 7]] = -0.002, 0.96, 0.04, 0.05, -0.0003
    coefficients[3, [0, 1, 19]] = 1.0, -0.0004, 1e-5
    return scalars, coefficients


def rpb_text() -> str:
    scalars, coefficients = camera_coefficients()
    names = [f"{axis}{part}" for part in ("Offset", "Scale") for axis in ("line", "samp", "lat", "long", "height")]
    lines = [f"\t{name} = {value:+.8f};" for name, value in zip(names, scalars, strict=True)]
    for name, row in zip(("lineNumCoef", "lineDenCoef", "sampNumCoef", "sampDenCoef"), coefficients, strict=True):
        lines.append(f"\t{name} = (\n" + ",\n".join(f"\t\t\t{value:+.12e}" for value in row) + ");")
    body = "\n".join(lines)
    head = 'satId = "GF1";\nbandId = "MS";\nSpecId = "RPC00B";\nBEGIN_GROUP = IMAGE\n\terrBias = 1.0;\n'
    return f"{head}{body}\nEND_GROUP = IMAGE\nEND;\n"


def rpc_text() -> str:
    scalars, coefficients = camera_coefficients()
    names = [f"{axis}_{part}" for part in ("OFF", "SCALE") for axis in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT")]
    lines = [f"{name}: {value:+.8f} pixels" for name, value in zip(names, scalars, strict=True)]
    for name, row in zip(("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN"), coefficients, strict=True):
        lines += [f"{name}_COEFF_{number}: {value:+.12E}" for number, value in enumerate(row, 1)]
    return "\n".join(lines) + "\n"


def gaofen_scene(
    folder: Path, numbers: np.ndarray, *, zenith: float, azimuth: float = 110.0, model: str = ".rpb"
) -> Path:
    """A level 1A image with metadata and camera model beside it; returns the image."""
    path = folder / "GF1_WFV3_E106.5_N29.9_20240515_L1A0009876543.tiff"
    write_raster(path, numbers, placed=False)
    path.with_suffix(".xml").write_text(GAOFEN_XML.format(zenith=zenith, azimuth=azimuth))
    if model:
        text = rpb_text() if model == ".rpb" else rpc_text()
        path.with_name(path.stem + model).write_text(text)
    return path
