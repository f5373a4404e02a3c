"""Address of the W&B server, and a check that it answers."""

from __future__ import annotations

import urllib.error
import urllib.request

from dhmd.errors import RunError

SECONDS = 10.0  # for any answer


def server() -> str:
    """Return the address, as determined by W&B's variables and settings files."""
    from wandb.sdk import wandb_setup

    return str(wandb_setup.singleton().settings.base_url)


def check_server() -> None:
    """Check that the W&B server answers: W&B's programs would retry for hours without a network.

    Raises:
        RunError: the server does not answer.
    """
    url = server()
    try:
        with urllib.request.urlopen(url, timeout=SECONDS):  # noqa: S310  # W&B's own address
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise RunError(f"{url} does not answer ({why}): nothing was uploaded; come back with a network, or set WANDB_BASE_URL") from error
