"""Where W&B uploads to, and whether anybody answers there."""

from __future__ import annotations

import urllib.error
import urllib.request

from dhmd.errors import RunError

SECONDS = 10.0  # to answer at all


def server() -> str:
    """The address: W&B's variables and settings files decide."""
    from wandb.sdk import wandb_setup

    return str(wandb_setup.singleton().settings.base_url)


def check_server() -> None:
    """W&B's programs go on trying for hours where there is no network.

    Raises:
        RunError: nothing answers.
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
