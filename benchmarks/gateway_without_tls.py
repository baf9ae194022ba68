"""`crimson gateway serve` without TLS, to measure what TLS costs. No setting of the gateway does this.

`python -m benchmarks.gateway_without_tls gateway serve ...`
"""

import sys
from typing import Any

from crimson_gateway import running
from crimson_gateway.server import HttpsServer
from crimson_protocol.launcher import main


class HttpServer(HttpsServer):
    """The same server, application and socket in the clear."""

    def build_ssl_context(self, cert: object, key: object, *rest: Any) -> None:
        """None, whatever certificate there is."""
        del cert, key
        super().build_ssl_context(None, None, *rest)


if __name__ == "__main__":
    running.HttpsServer = HttpServer  # type: ignore[misc]
    sys.exit(main())
