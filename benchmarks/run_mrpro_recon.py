"""Do one task of reconstruction with MRpro, in its own environment.

Arguments FOLDER, JSON of what is asked for, OUT.npy; prints JSON. Knows nothing of Scanroom.
"""

import sys
import types
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stopwatch import answer, arguments, best

# torchvision asks for GPU libraries; MRpro wants it for downloaded phantoms alone
for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
sys.modules["torchvision.transforms"].functional = sys.modules[name]

from mrpro.algorithms.csm import inati, walsh  # noqa: E402
from mrpro.algorithms.optimizers import cg, pgd  # noqa: E402
from mrpro.data import KTrajectory, SpatialDimension  # noqa: E402
from mrpro.operators import (  # noqa: E402
    CartesianMaskingOp,
    FastFourierOp,
    NonUniformFastFourierOp,
    SensitivityOp,
    WaveletOp,
)
from mrpro.operators.functionals import L1Norm, L2NormSquared  # noqa: E402


def main(folder: Path, asked: dict[str, Any], out: Path) -> None:
    """Prepare arrays, then time the program's own operators and solvers."""
    torch.set_num_threads(1)
    method, options = asked["method"], asked["options"]
    data = {path.stem: torch.from_numpy(np.load(path)) for path in folder.glob("*.npy")}
    with torch.inference_mode(method != "wavelet"):
        measured = best(WORK[method](data, options), out)
    answer(measured, version("mrpro"))


def calibration(data: dict[str, torch.Tensor], options: dict[str, Any]) -> Callable[[], Any]:
    """Maps of images made of the middle of k-space alone."""
    function = {"inati": inati, "walsh": walsh}[options["way"]]
    n_y, n_x = data["kspace"].shape[-2:]
    half = options["centre"] // 2
    window = torch.hann_window(2 * half + 1, periodic=False)[:-1]

    def work() -> torch.Tensor:
        few = torch.zeros_like(data["kspace"])
        part = (
            ...,
            slice(n_y // 2 - half, n_y // 2 + half),
            slice(n_x // 2 - half, n_x // 2 + half),
        )
        few[part] = data["kspace"][part] * window[:, None] * window
        (images,) = FastFourierOp(dim=(-2, -1)).adjoint(few)
        maps: torch.Tensor = function(images, options["smoothing_width"])
        return maps

    return work


def unfolding(data: dict[str, torch.Tensor], options: dict[str, Any]) -> Callable[[], Any]:
    """Conjugate gradients on the normal equations."""
    axes = (-2, -1) if data["kspace"].shape[-3] == 1 else (-3, -2, -1)
    encode = FastFourierOp(dim=axes) @ SensitivityOp(data["maps"])

    def work() -> torch.Tensor:
        keep = CartesianMaskingOp(data["sampled"])
        (right,) = encode.adjoint(data["kspace"])
        (image,) = cg(encode.H @ keep @ encode, right, **options)
        return image

    return work


def sparse(data: dict[str, torch.Tensor], options: dict[str, Any]) -> Callable[[], Any]:
    """Accelerated proximal gradients on the coefficients of wavelets."""
    shape = data["maps"].shape[-2:]
    strength, n_iterations = options["strength"], options["max_iterations"]

    def work() -> torch.Tensor:
        wavelets = WaveletOp(domain_shape=shape, dim=(-2, -1), level=options["level"])
        encode = (
            CartesianMaskingOp(data["sampled"])
            @ FastFourierOp(dim=(-2, -1))
            @ SensitivityOp(data["maps"])
            @ wavelets.H
        )
        (start,) = encode.adjoint(data["kspace"])
        fit = 0.5 * L2NormSquared(target=data["kspace"]) @ encode
        (found,) = pgd(fit, strength * L1Norm(), start, stepsize=1.0, max_iterations=n_iterations)
        (image,) = wavelets.adjoint(found)
        return image.detach()

    return work


def spokes(data: dict[str, torch.Tensor], options: dict[str, Any]) -> Callable[[], Any]:
    """Conjugate gradients with the normal operator as a convolution."""
    n_y, n_x = data["maps"].shape[-2:]
    place = data["place"].float() * torch.tensor([n_y, n_x])
    nothing = torch.zeros(1, 1, 1, 1, 1)
    ky, kx = (place[:, axis].reshape(1, 1, 1, options["spokes"], -1) for axis in (0, 1))
    samples = data["kspace"].reshape(1, len(data["kspace"]), 1, options["spokes"], -1)

    def work() -> torch.Tensor:
        grid = SpatialDimension(1, n_y, n_x)
        transform = NonUniformFastFourierOp(
            ("y", "x"), grid, grid, KTrajectory(kz=nothing, ky=ky, kx=kx)
        )
        seen = SensitivityOp(data["maps"][None])
        (right,) = seen.adjoint(*transform.adjoint(samples))
        (image,) = cg(
            seen.H @ transform.gram @ seen,
            right,
            max_iterations=options["max_iterations"],
            tolerance=0.0,
        )
        return image

    return work


WORK = {"calibrate": calibration, "sense": unfolding, "wavelet": sparse, "radial": spokes}

if __name__ == "__main__":
    main(*arguments())
