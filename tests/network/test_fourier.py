"""Fourier transforms as matrices, against NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fracstride.network import fourier

NORMS = ["backward", "ortho", "forward"]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 100])
def test_transforms(size: int, norm: Any) -> None:
    rng = np.random.default_rng(size)
    x, z = rng.normal(size=size), rng.normal(size=(2, size))
    bins = fourier.bins_of(size)
    real, imaginary = np.einsum("kpn,n->pk", fourier.forward(size, bins, norm), x)
    close(real + 1j * imaginary, np.fft.rfft(x, norm=norm))
    real, imaginary = np.einsum("kpn,n->pk", fourier.forward(size, size, norm), x)
    close(real + 1j * imaginary, np.fft.fft(x, norm=norm))
    for inverse, transform in ((False, np.fft.fft), (True, np.fft.ifft)):
        matrix = fourier.between_complex(size, norm, inverse=inverse)
        real, imaginary = np.einsum("kpqn,pk->qn", matrix, z)
        close(real + 1j * imaginary, transform(z[0] + 1j * z[1], norm=norm))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 100])
def test_the_inverse_to_a_real_signal(size: int, norm: Any) -> None:
    """Imaginary parts of the first and the last frequency do not count."""
    bins, end = fourier.bins_of(size), fourier.imaginary_end(size)
    rng = np.random.default_rng(size)
    real, imaginary = rng.normal(size=(2, bins))
    rows = fourier.real_inverse(size, norm)
    assert rows.shape == (bins + max(0, end - 1), size)
    given = np.concatenate([real, imaginary[1:end]])
    close(given @ rows, np.fft.irfft(real + 1j * imaginary, size, norm=norm))


def test_waves_vanish_exactly() -> None:
    """A spectrum that is real has no imaginary part from rounding, nor a negative zero."""
    matrix = fourier.forward(16, 9)
    for row in (matrix[0, 1], matrix[8, 1]):
        assert not row.any()
        assert not np.signbit(row).any()
    assert matrix[4, 0, 1] == 0
