"""300 broken inputs: each must end within 10 s, in one clear line, with exit code 2.

Truth: the rule itself. Inputs are public Pulseq files, a public MRD file, a public TWIX recording,
our presets and a subject file, truncated or mutated with a fixed seed. A mutation that leaves a
legal file (a flipped digit of an amplitude, say) may be accepted; it does not count towards the
300.
"""

import contextlib
import io
import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from scanroom.cli import run
from scanroom.mri.protocol import dump_protocol, load_protocol, preset_names
from scanroom.subject import load_subject, save_subject

COMMAND = "python -m validation.robust_inputs"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
WANTED = 300
SECONDS = 10.0
WRONG_VALUES = ("nan", "inf", "-1", "0", "1e30", '"abc"', "[]", "true", "-0.5", "[1, 2, 3, 4, 5]")


def mutate_text(text: str, rng: np.random.Generator) -> str:
    """Damage a text file in one of the ways that editors, disks and people do."""
    lines = text.splitlines(keepends=True)
    where = int(rng.integers(len(lines)))
    kind = int(rng.integers(7))
    if kind == 0:
        return text[: int(rng.integers(1, len(text)))]
    if kind == 1:
        del lines[where : where + int(rng.integers(1, 20))]
    elif kind == 2:
        words = lines[where].split() or ["x"]
        bad = ("nan", "1e400", "-7", "99999999999", "abc", "")
        words[int(rng.integers(len(words)))] = str(rng.choice(bad))
        lines[where] = " ".join(words) + "\n"
    elif kind == 3:
        lines.insert(where, lines[int(rng.integers(len(lines)))])
    elif kind == 4:
        data = bytearray(text.encode())
        for index in rng.integers(len(data), size=8):
            data[index] = int(rng.integers(256))
        return data.decode("latin-1")
    elif kind == 5:
        lines[where] = "[BLOCKS]\n" if rng.random() < 0.5 else "[SHAPES]\n"
    else:
        rng.shuffle(lines)
    return "".join(lines)


def mutate_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Truncate a binary file, overwrite a stretch of it, or flip bytes of its head."""
    kind = int(rng.integers(3))
    if kind == 0:
        return data[: int(rng.integers(len(data)))]
    spoiled = bytearray(data)
    if kind == 1:
        start = int(rng.integers(len(data)))
        stop = min(len(data), start + int(rng.integers(1, len(data) // 2)))
        spoiled[start:stop] = rng.bytes(stop - start)
    else:
        for index in rng.integers(min(len(data), 8192), size=16):
            spoiled[index] = int(rng.integers(256))
    return bytes(spoiled)


Case = tuple[str, list[str]]


def sequence_cases(folder: Path, rng: np.random.Generator, n: int) -> Iterator[Case]:
    """Broken Pulseq files."""
    sources = sorted(SHARED.glob("mri_*/**/*.seq"), key=lambda path: path.stat().st_size)[:60]
    for index in range(n):
        source = sources[int(rng.integers(len(sources)))]
        path = folder / f"{index}.seq"
        text = source.read_text("latin-1")
        if index % 2:  # without its checksum a file must be refused for what it says
            text = text.split("[SIGNATURE]")[0]
        path.write_text(mutate_text(text, rng), encoding="latin-1")
        yield "seq", ["mri", "check", str(path)]


def raw_cases(folder: Path, rng: np.random.Generator, n: int) -> Iterator[Case]:
    """Broken MRD files."""
    data = (SHARED / "mri_raw/debian_ismrmrd-tools/shepp_logan_m64_c4_r2.h5").read_bytes()
    for index in range(n):
        path = folder / f"{index}.h5"
        path.write_bytes(mutate_bytes(data, rng))
        yield "h5", ["mri", "recon", str(path), "--out", str(folder / f"out-{index}")]


def member_cases(folder: Path, rng: np.random.Generator, n: int) -> Iterator[Case]:
    """Sound HDF5 that says impossible things: a damaged header text or acquisition header."""
    data = (SHARED / "mri_raw/debian_ismrmrd-tools/shepp_logan_m64_c4_r2.h5").read_bytes()
    for index in range(n):
        path = folder / f"member-{index}.h5"
        path.write_bytes(data)
        with h5py.File(path, "r+") as file:
            group = file["dataset"]
            if index % 2:
                xml = group["xml"][0].decode()
                group["xml"][0] = spoil_xml(xml, rng).encode("latin-1", "replace")
            else:
                spoil_heads(group["data"], rng)
        yield "mrd", ["mri", "recon", str(path), "--out", str(folder / f"out-member-{index}")]


def spoil_xml(xml: str, rng: np.random.Generator) -> str:
    """Damage the text, or put an impossible number where a number stands."""
    numbers = list(re.finditer(r">(-?[\d.]+)<", xml))
    if rng.random() < 0.4 or not numbers:
        return mutate_text(xml, rng).replace("\0", " ")
    number = numbers[int(rng.integers(len(numbers)))]
    wrong = str(rng.choice(["nan", "inf", "-1", "0", "1e30", "99999", "abc", "", "0.5", "65536"]))
    return xml[: number.start(1)] + wrong + xml[number.end(1) :]


def spoil_heads(data: h5py.Dataset, rng: np.random.Generator) -> None:
    """Put an impossible value into one member of the headers of some acquisitions."""
    rows = data[:]
    names = [name for name in rows["head"].dtype.names if name != "channel_mask"]
    name = str(rng.choice(names))
    some = rng.random(len(rows)) < rng.choice([0.02, 1.0])
    some[0] = True
    part = rows["head"][name]
    if name == "idx":
        part = part[str(rng.choice(part.dtype.names))]
    if part.dtype.kind == "f":
        part[some] = rng.choice([np.nan, np.inf, -1.0, 0.0, 1e30])
    else:
        part[some] = (0, 1, 7, 32767, np.iinfo(part.dtype).max)[int(rng.integers(5))]
    data[:] = rows


def twix_cases(folder: Path, rng: np.random.Generator, n: int) -> Iterator[Case]:
    """Broken TWIX recordings beside their good sequence."""
    base = SHARED / "mri_raw/pulseq+tutorials/11_from_GRE_to_EPI/data"
    data = (base / "04c_improvised_EPI.dat").read_bytes()
    for index in range(n):
        path = folder / f"{index}.dat"
        path.write_bytes(mutate_bytes(data, rng))
        seq, out = base / "04c_improvised_EPI.seq", folder / f"dat-{index}.h5"
        yield "dat", ["mri", "import", str(path), "--seq", str(seq), "--out", str(out)]


def protocol_cases(folder: Path, rng: np.random.Generator, n: int) -> Iterator[Case]:
    """Presets with one value made wrong, or damaged as texts."""
    presets = [dump_protocol(load_protocol(name)) for name in preset_names()]
    for index in range(n):
        text = presets[index % len(presets)]
        lines = [line for line in text.splitlines() if " = " in line]
        line = lines[int(rng.integers(len(lines)))]
        key, value = line.split(" = ")[0], str(rng.choice(WRONG_VALUES))
        wrong = text.replace(line, f"{key} = {value}") if index % 5 else mutate_text(text, rng)
        path = folder / f"{index}.toml"
        path.write_text(wrong, encoding="latin-1")
        yield "toml", ["mri", "sequence", str(path), "--out", str(folder / f"p-{index}.seq")]


def subject_cases(folder: Path, rng: np.random.Generator, n: int) -> Iterator[Case]:
    """Broken subject files; made for another field, so that one left legal is refused too."""
    whole = folder / "whole.h5"
    save_subject(load_subject("asymmetric", 1.5, resolution=16e-3), whole)
    data = whole.read_bytes()
    for index in range(n):
        path = folder / f"subject-{index}.h5"
        path.write_bytes(mutate_bytes(data, rng))
        out = str(folder / f"exam-{index}")
        arguments = ["mri", "scan", "localizer-transverse", "--subject", str(path), "--out", out]
        yield "subject", arguments


def attempt(arguments: list[str]) -> tuple[int, list[str], float]:
    """Run one command in this process; return exit code, lines on standard error, seconds."""
    errors, code = io.StringIO(), 0
    start = time.monotonic()
    saved = sys.argv
    sys.argv = ["scanroom", *arguments]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(int(SECONDS) + 5)
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except TimeoutError:
        code = -1
    except Exception as error:  # noqa: BLE001 - an escaped exception is what we look for
        code = 1
        errors.write(f"{type(error).__name__}: {error}\n")
    finally:
        signal.alarm(0)
        sys.argv = saved
    return code, errors.getvalue().splitlines(), time.monotonic() - start


def _too_long(*_: object) -> None:
    raise TimeoutError


def left_behind(arguments: list[str]) -> list[str]:
    """Files at or below the output path, and unfinished ones beside it."""
    if "--out" not in arguments:
        return []
    out = Path(arguments[arguments.index("--out") + 1])
    beside = [path for path in out.parent.iterdir() if out.name in path.name]
    return [str(path) for path in beside if path.is_file() or any(path.rglob("*"))]


def judge(kind: str, arguments: list[str]) -> dict[str, Any]:
    """What one broken input did."""
    code, lines, seconds = attempt(arguments)
    good = code == 2 and len(lines) >= 1 and all(line.startswith("scanroom: ") for line in lines)
    clear = good and (len(lines) == 1 or "ceiling is" in lines[0])
    return {
        "kind": kind,
        "accepted": code == 0,
        "refused": clear and seconds <= SECONDS,
        "left": left_behind(arguments) if code else [],
        "code": code,
        "seconds": seconds,
        "text": " | ".join(lines)[:300],
        "input": arguments,
    }


def attempts(
    folder: Path, share: float = 1.0, progress: Callable[[int], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Try broken inputs of every kind; ``share`` of the number of cases."""
    rng = np.random.default_rng(2026)
    cases = [
        *sequence_cases(folder, rng, round(130 * share)),
        *raw_cases(folder, rng, round(60 * share)),
        *member_cases(folder, rng, round(100 * share)),
        *twix_cases(folder, rng, round(60 * share)),
        *protocol_cases(folder, rng, round(150 * share)),
        *subject_cases(folder, rng, round(40 * share)),
    ]
    results = []
    for index, (kind, arguments) in enumerate(cases):
        results.append(judge(kind, arguments))
        progress(index)
    return results


def claims() -> list[dict[str, Any]]:
    """Count what was refused properly, accepted, or neither."""
    with tempfile.TemporaryDirectory() as name:
        results = attempts(Path(name))
    half_written = [path for result in results for path in result["left"]]
    refused = sum(result["refused"] for result in results)
    bad = [result for result in results if not result["refused"] and not result["accepted"]]
    for result in bad:
        print(json.dumps(result), file=sys.stderr)
    worst = max(result["seconds"] for result in results)
    source = "issue: 300 broken inputs, <= 10 s, one clear line, exit 2"
    common = {"truth": "the rule itself", "source": source, "command": COMMAND}
    return [
        {"claim": "broken inputs refused in one clear line with exit 2", "value": refused,
         "unit": "inputs", "bound": f">= {WANTED}", "passes": refused >= WANTED, **common},
        {"claim": "broken inputs that ended any other way", "value": len(bad), "unit": "inputs",
         "bound": "<= 0", "passes": not bad, **common},
        {"claim": "longest refusal", "value": round(worst, 2), "unit": "s", "bound": "<= 10",
         "passes": worst <= SECONDS, **common},
        {"claim": "files left by a refusal", "value": len(half_written), "unit": "files",
         "bound": "<= 0", "passes": not half_written, **common},
    ]  # fmt: skip


if __name__ == "__main__":
    for claim in claims():
        print(claim["claim"], claim["value"], claim["unit"], claim["bound"], claim["passes"])
