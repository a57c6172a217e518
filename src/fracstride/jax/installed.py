"""JAX, or a sentence that says how to get it."""

from __future__ import annotations

_NEEDED = "fracstride.jax needs JAX 0.6.2 or later: pip install 'fracstride[jax]'"

try:
    import jax
except ImportError as error:
    raise ImportError(f"{_NEEDED}. Importing it said: {error}") from error
if jax.__version_info__ < (0, 6, 2):
    raise ImportError(f"{_NEEDED}. Installed is {jax.__version__}.")
