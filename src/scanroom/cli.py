"""Command line: parse, call one function, print."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from scanroom import __version__
from scanroom.core.errors import ScanroomError

WrongUse: Any = typer.BadParameter.__base__
"""UsageError, of the click inside typer or of the one beside it, as the version has it."""

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
mri = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Magnetic resonance imaging.")
app.add_typer(mri, name="mri")

Subject = Annotated[str, Option(help="brain, acr, sphere, asymmetric, or a subject file (.h5).")]
SystemName = Annotated[str, Option("--system", help="The scanner: 3T or 0.05T.")]
Mode = Annotated[str, Option(help="IEC 60601-2-33 operating mode: normal or first-level.")]
Seed = Annotated[int, Option(help="Seed of noise and isochromats: same seed, same bytes.")]
Coils = Annotated[int, Option(help="Receive channels, 1 to 64.")]
AsJson = Annotated[bool, Option("--json", help="Print one JSON object on standard output.")]
Perfect = Annotated[bool, Option("--perfect", help="Switch every fault of the twin off.")]
Workers = Annotated[int, Option(help="Processes of the twin, 1 to 8: the same bytes.")]
Intensity = Annotated[str, Option(help="even (shading of the coils taken out) or received.")]
Out = Annotated[Path, Option(help="Folder of the exam.")]
Protocol = Annotated[str, Argument(help="A preset (see 'mri presets') or a .toml file.")]


def show(record: dict[str, Any], *, as_json: bool) -> None:
    """Print a flat record for a person, or one JSON object for a program."""
    if as_json:
        typer.echo(json.dumps(record, default=str))
        return
    width = max((len(key) for key in record), default=0)
    for key, value in record.items():
        typer.echo(f"{key:<{width}}  {value}")


@app.callback()
def main() -> None:
    """Three instruments, one corridor. Research use only: not an approved medical device."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def warm() -> None:
    """Compile the kernels once, so that the first scan does not wait."""
    from scanroom.exam.warm import warm as compile_kernels

    compile_kernels(report=lambda text: typer.echo(text, err=True))


@app.command()
def exam(
    name: Annotated[str, Argument(help="Which exam: brain.")] = "brain",
    out: Out = Path("exam"),
    system: SystemName = "3T",
    coils: Coils = 8,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run a whole exam on the twin: scans, reconstruction, DICOM, report."""
    from scanroom.exam.presets import exam_preset
    from scanroom.exam.scan import scan
    from scanroom.exam.station import Station

    preset = exam_preset(name)
    station = Station(
        subject=preset.subject, system=system, seed=seed, n_coils=coils, mode=preset.mode
    )
    summaries = [scan(protocol, station, out, study=preset.title) for protocol in preset.protocols]
    show_scans(summaries, out, as_json=as_json)


def show_scans(summaries: list[dict[str, Any]], out: Path, *, as_json: bool) -> None:
    """Say what was made and where it lies."""
    if as_json:
        typer.echo(json.dumps({"exam": str(out), "scans": summaries}, default=str))
        return
    for summary in summaries:
        show(summary, as_json=False)
        typer.echo("")
    typer.echo(f"report    {out / 'report.html'}")
    typer.echo("Research use only: not an approved medical device.")


@mri.command()
def scan(
    protocol: Protocol,
    subject: Subject = "brain",
    out: Out = Path("exam"),
    system: SystemName = "3T",
    mode: Mode = "normal",
    coils: Coils = 8,
    seed: Seed = 0,
    perfect: Perfect = False,
    workers: Workers = 1,
    intensity: Intensity = "even",
    as_json: AsJson = False,
) -> None:
    """Scan a subject on the twin: sequence, gate, raw data, images, DICOM, report."""
    from scanroom.exam.scan import scan as run_scan
    from scanroom.exam.station import Station

    station = Station(
        subject=subject,
        system=system,
        seed=seed,
        n_coils=coils,
        mode=mode,
        perfect=perfect,
        workers=workers,
    )
    show_scans([run_scan(protocol, station, out, intensity=intensity)], out, as_json=as_json)


@mri.command()
def play(
    sequence: Annotated[Path, Argument(help="A Pulseq file (.seq), written by anyone.")],
    subject: Subject = "brain",
    out: Out = Path("exam"),
    system: SystemName = "3T",
    mode: Mode = "normal",
    coils: Coils = 8,
    seed: Seed = 0,
    perfect: Perfect = False,
    workers: Workers = 1,
    intensity: Intensity = "even",
    as_json: AsJson = False,
) -> None:
    """Play any Pulseq file on the twin, through the gate, to raw data and images."""
    from scanroom.exam.scan import play as run_play
    from scanroom.exam.station import Station

    station = Station(
        subject=subject,
        system=system,
        seed=seed,
        n_coils=coils,
        mode=mode,
        perfect=perfect,
        workers=workers,
    )
    show_scans([run_play(sequence, station, out, intensity=intensity)], out, as_json=as_json)


@mri.command()
def sequence(
    protocol: Protocol,
    out: Annotated[Path, Option(help="The Pulseq file to write.")],
    plot: Annotated[Path | None, Option(help="Also draw one repetition into this .png.")] = None,
    system: SystemName = "3T",
) -> None:
    """Compile a protocol to a Pulseq file."""
    from scanroom.exam.design import design

    show(design(protocol, out, plot, system_name=system), as_json=False)


@mri.command()
def check(
    drive: Annotated[str, Argument(help="A Pulseq file (.seq), a preset or a .toml protocol.")],
    system: SystemName = "3T",
    mode: Mode = "normal",
    as_json: AsJson = False,
) -> None:
    """Say what the safety gate sees, without playing anything."""
    from scanroom.exam.design import check as dry_run

    findings = dry_run(drive, system_name=system, mode=mode)
    if as_json:
        show({"drive": drive, "system": system, "mode": mode, "findings": findings}, as_json=True)
        return
    for finding in findings:
        typer.echo(finding["text"])


@mri.command()
def recon(
    raw: Annotated[Path | None, Argument(help="Raw data, ISMRMRD/MRD (.h5), any source.")] = None,
    out: Out = Path("exam"),
    partial_fourier: Annotated[str, Option(help="pocs, homodyne or zero-fill.")] = "pocs",
    intensity: Intensity = "received",
    method: Annotated[
        str,
        Option(help="Of missing lines: auto, sense, cg-sense, grappa, spirit, cs, or a plug-in's."),
    ] = "auto",
    regularisation: Annotated[str, Option(help="Of cs: wavelet, tv or tgv.")] = "wavelet",
    sensitivities: Annotated[str, Option(help="auto, espirit or walsh.")] = "auto",
    delays: Annotated[str, Option(help="Of spokes: auto (found and corrected) or none.")] = "auto",
    girf: Annotated[str, Option(help="Measured gradient response, .npy or .npz.")] = "",
    off_resonance: Annotated[
        str, Option(help="Of trajectories: none, autofocus, or a field map in Hz, .nii.gz.")
    ] = "none",
    unwarp: Annotated[str, Option(help="Gradient coefficients, .grad: images put straight.")] = "",
    virtual_coils: Annotated[int, Option(help="Compress more coils to so many; 0 keeps all.")] = 0,
    replicas: Annotated[int, Option(help="Repeats for a map of the noise; 0 for none.")] = 0,
    serve: Annotated[str, Option(help="host:port: answer MRD clients there until ^C.")] = "",
    via: Annotated[str, Option(help="host:port: let the MRD server there reconstruct.")] = "",
    workers: Annotated[int, Option(help="Processes that share the slices; same images.")] = 1,
    farm: Annotated[str, Option(help="tcp://host:port: let a Dask cluster do the slices.")] = "",
    as_json: AsJson = False,
) -> None:
    """Reconstruct raw data to NIfTI, DICOM, pictures and a report; or serve others' scans."""
    choices: dict[str, Any] = {
        "partial_fourier": partial_fourier,
        "intensity": intensity,
        "method": method,
        "regularisation": regularisation,
        "sensitivities": sensitivities,
        "delays": delays,
        "girf": girf,
        "off_resonance": off_resonance,
        "unwarp": unwarp,
        "virtual_coils": virtual_coils,
        "replicas": replicas,
    }
    if (raw is None) != bool(serve) or (serve and via):
        refuse("give raw data to reconstruct, or --serve host:port without any, to answer others.")
    elif raw is None:
        from scanroom.exam.serving import serve as serve_until_stopped
        from scanroom.mri.recon import Options

        serve_until_stopped(serve, out, Options(**choices))
    else:
        from scanroom.exam.scan import reconstruct_into

        choices |= {"via": via, "workers": workers, "cluster": farm}
        show_scans([reconstruct_into(raw, out, **choices)], out, as_json=as_json)


@mri.command("import")
def import_raw(
    recording: Annotated[Path, Argument(help="Siemens TWIX raw data (meas.dat).")],
    out: Annotated[Path, Option(help="The MRD file (.h5) to write.")],
    seq: Annotated[Path | None, Option(help="The Pulseq file that was played.")] = None,
) -> None:
    """Make MRD raw data of a recording and the sequence that was played."""
    from scanroom.mri.hardware.siemens import import_twix

    import_twix(recording, seq, out)
    typer.echo(f"raw data  {out}")


@mri.command()
def recover(
    part: Annotated[Path, Argument(help="What a scan cut short left behind (.h5.part).")],
) -> None:
    """Make raw data of the readouts that a killed scan had acknowledged."""
    from scanroom.mri.raw.writer import recover as recover_part

    typer.echo(f"raw data  {recover_part(part)}")


@mri.command()
def presets() -> None:
    """List the protocols that come with Scanroom."""
    from scanroom.mri.protocol import preset_names

    for name in preset_names():
        typer.echo(name)


def run() -> None:
    """Run the command line; whatever is refused prints itself in full and leaves with code 2."""
    try:
        code = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        refuse("interrupted; what was acknowledged is kept.", code=130)
    except WrongUse as error:
        refuse_use(error.format_message())
    except ScanroomError as error:
        refuse(str(error))
    except OSError as error:
        refuse(explain(error))
    else:
        raise SystemExit(code if isinstance(code, int) else 0)


def explain(error: OSError) -> str:
    """One line for a file that cannot be read or written."""
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{what}. Check the path, the permissions and the space left."


def refuse_use(text: str) -> None:
    """Answer a command that is none: help where nothing was asked for, else one line."""
    if text.lstrip().startswith("Usage:"):
        typer.echo(text, err=True)
        raise SystemExit(2)
    refuse(f"{' '.join(text.split()).rstrip('.')}. See scanroom --help.")


def refuse(text: str, *, code: int = 2) -> None:
    """Print every finding on its own line and leave."""
    for line in text.splitlines() or ["unknown error"]:
        typer.echo(f"scanroom: {line}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    run()
