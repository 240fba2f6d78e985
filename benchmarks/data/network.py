"""Whether a download can start, decided quickly."""

import http.client
import threading
import urllib.error
import urllib.request

from benchmarks.terminal.errors import first_line

CONNECT_SECONDS = 10.0


def unreachable(url: str) -> str:
    """Why `url` can't be downloaded, or an empty string; decided within `CONNECT_SECONDS`."""
    reason = [f"no answer within {CONNECT_SECONDS:.0f} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
                reason[0] = ""
        except urllib.error.HTTPError as error:
            reason[0] = f"{url} answered {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason[0] = first_line(getattr(error, "reason", None) or error)

    # A name look-up has no time-out, so it runs in a thread that need not end.
    thread = threading.Thread(target=ask, name=f"HEAD {url}", daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return reason[0]
