"""Speed of derandomizing and Reed-Solomon correction against libfec, on the same frames: run by `make bench`.

Both correct the same code blocks (RS(255,223), dual basis, interleave 4) of as many CADUs; ours takes the randomizer
off as well. Speed is CADU octets (marker included) by CPU time of one core, the best of some passes. libfec comes
from Debian; where it is not installed its packages are fetched and unpacked in a temporary folder.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from processors.arrays import ByteArray
from processors.ccsds import link, randomizer, reed_solomon

SOURCE = Path(__file__).with_name("libfec_reference.c")
CODE = link.ReedSolomon(interleave=4)
RANDOMIZER = "ccsds"
BLOCK = CODE.data_length + CODE.parity_length
CADU = 4 + BLOCK
FRAMES = 4000
REPEATS = 7
PACKAGES = ("libfec-dev", "libfec0")


class NotPossibleError(Exception):
    """Something the comparison needs is not there."""


@dataclass(frozen=True)
class Case:
    """What the channel did to the blocks, and the least speed asked for."""

    name: str
    wrong_symbols: int = 0
    bit_error_rate: float = 0.0
    times_libfec: float = 0.0
    gigabits: float = 0.0


CASES = (
    Case("no errors", times_libfec=10.0, gigabits=1.7),
    Case("16 wrong symbols in every codeword", wrong_symbols=16, times_libfec=3.0, gigabits=0.27),
    Case("bit error rate 1e-4", bit_error_rate=1e-4, gigabits=1.5),
)


@dataclass(frozen=True)
class Result:
    """Speeds of one case [Gbit/s]."""

    ours: float
    libfec: float


def received(case: Case, clean: ByteArray, random: np.random.Generator) -> ByteArray:
    blocks = clean.copy()
    if case.wrong_symbols:
        words = blocks.reshape(len(blocks), -1, CODE.interleave)
        at = np.argsort(random.random(words.shape), axis=1)[:, : case.wrong_symbols]
        wrong = random.integers(1, 256, size=at.shape, dtype=np.uint8)
        np.put_along_axis(words, at, np.take_along_axis(words, at, axis=1) ^ wrong, axis=1)
    if case.bit_error_rate:
        blocks ^= np.packbits(random.random((len(blocks), 8 * BLOCK)) < case.bit_error_rate, axis=1)
    return blocks


def our_pass(blocks: ByteArray) -> tuple[float, reed_solomon.Correction]:
    reed_solomon.correct(blocks[:4], code=CODE, randomizer=RANDOMIZER)  # compiled and tabulated before the clock runs
    best = np.inf
    for _ in range(REPEATS):
        begin = time.process_time()
        correction = reed_solomon.correct(blocks, code=CODE, randomizer=RANDOMIZER)
        best = min(best, time.process_time() - begin)
    return best, correction


def tool(name: str, why: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotPossibleError(f"{name} is missing: {why}")
    return found


def run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise NotPossibleError(f"{' '.join(command)} failed:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def fetched_libfec(folder: Path) -> list[str]:
    """Compiler arguments for a libfec unpacked from its Debian packages."""
    run(tool("apt-get", "libfec is taken from Debian; install libfec-dev"), "download", *PACKAGES, folder=folder)
    for package in sorted(folder.glob("*.deb")):
        run(tool("dpkg", "it unpacks the packages of libfec"), "-x", str(package), str(folder / "root"))
    archive = next(folder.glob("root/usr/lib/*/libfec.a"), None)
    if archive is None:
        raise NotPossibleError(f"no libfec.a in {', '.join(PACKAGES)}")
    return ["-I", str(folder / "root/usr/include"), str(archive)]


def compiled(folder: Path) -> Path:
    """Build the reference program, with the installed libfec where there is one."""
    compiler = tool("gcc", "it compiles the reference program; install gcc and libc6-dev")
    program = folder / "libfec_reference"

    def build(*library: str) -> None:
        run(compiler, "-O2", "-Wall", "-Wextra", "-o", str(program), str(SOURCE), *library, "-lm")

    try:
        build("-lfec")
    except NotPossibleError:
        build(*fetched_libfec(folder))
    return program


def libfec_pass(program: Path, blocks: ByteArray, folder: Path) -> tuple[float, int, ByteArray]:
    source, target = folder / "received.bin", folder / "corrected.bin"
    source.write_bytes(randomizer.randomize(blocks, RANDOMIZER).tobytes())
    seconds, corrected, lost = run(str(program), str(source), str(target), str(BLOCK), str(CODE.interleave)).split()
    if int(lost):
        raise NotPossibleError(f"libfec gives up on {lost} codewords")
    frames = np.fromfile(target, dtype=np.uint8).reshape(-1, BLOCK)[:, : CODE.data_length]
    return float(seconds), int(corrected), frames


def measured(case: Case, program: Path, folder: Path) -> Result:
    """Let both correct the same blocks and check that both find the frames that were sent.

    Raises
    ------
    AssertionError
        One of them does not.
    """
    random = np.random.default_rng(1)
    frames = random.integers(0, 256, size=(FRAMES, CODE.data_length), dtype=np.uint8)
    clean = randomizer.randomize(reed_solomon.encode(frames, code=CODE), RANDOMIZER)
    blocks = received(case, clean, random)
    ours, correction = our_pass(blocks)
    theirs, corrected, their_frames = libfec_pass(program, blocks, folder)
    wrong = np.count_nonzero(blocks != clean)
    if not np.array_equal(correction.frames, frames) or not np.array_equal(their_frames, frames):
        raise AssertionError(f"{case.name}: frames differ from those sent")
    if not wrong == corrected == int(correction.corrected.sum()):
        raise AssertionError(f"{case.name}: {wrong} wrong symbols, {corrected} and {correction.corrected.sum()} found")
    bits = 8e-9 * CADU * FRAMES
    return Result(bits / ours, bits / theirs)


def met(case: Case, result: Result) -> bool:
    return result.ours >= case.gigabits and result.ours >= case.times_libfec * result.libfec


def report(results: dict[Case, Result]) -> None:
    sys.stdout.write(f"{'Gbit/s of CADUs, one core':36} {'ours':>7} {'libfec':>7} {'ratio':>6}   bar\n")
    for case, result in results.items():
        bar = f">= {case.gigabits:g} Gbit/s" + (f", {case.times_libfec:g} x libfec" if case.times_libfec else "")
        ratio = result.ours / result.libfec
        verdict = "met" if met(case, result) else "NOT MET"
        sys.stdout.write(f"{case.name:36} {result.ours:7.3f} {result.libfec:7.3f} {ratio:6.1f}   {bar}: {verdict}\n")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            program = compiled(folder)
            results = {case: measured(case, program, folder) for case in CASES}
        except NotPossibleError as missing:
            sys.stderr.write(f"no comparison with libfec: {missing}\n")
            return 1
    report(results)
    return 0 if all(met(case, result) for case, result in results.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
