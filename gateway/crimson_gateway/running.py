"""A gateway from its home folder to its last request."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from crimson_gateway.api.services import Services
from crimson_gateway.app import Outermost, create_app
from crimson_gateway.authentication import Callers, Gate, NonceBook
from crimson_gateway.context import Context
from crimson_gateway.driver import Driver
from crimson_gateway.files import make_folder
from crimson_gateway.following import PolicyFollower, known_callers
from crimson_gateway.published import read_published
from crimson_gateway.server import HttpsServer, PortTaken, bind
from crimson_gateway.settings import GatewaySettings, SettingsFault
from crimson_gateway.spool import Spool
from crimson_gateway.store.database import Database
from crimson_gateway.store.rounds import oldest_open
from crimson_gateway.tls import TlsFiles, check_certificate, ensure_certificate

LEAVE_SECONDS = 10.0
Announce = Callable[[str, str], None]
"""Called with the URLs of the service and of its metrics once requests are accepted."""


def enclave_socket(home: Path) -> Path:
    """Where the enclave of the same machine listens, unless a setting says otherwise."""
    return home.parent / "enclave" / "run" / "enclave.sock"


def tls_files(home: Path, settings: GatewaySettings) -> TlsFiles:
    """The certificate to serve with, valid now. Raises CertificateFault and OSError."""
    if settings.certificate and settings.private_key:
        files = TlsFiles(home / settings.certificate, home / settings.private_key)
    elif settings.certificate or settings.private_key:
        raise SettingsFault("certificate and private_key go together", "give both or neither")
    else:
        files = ensure_certificate(home, (settings.host, *settings.names))
    check_certificate(files)
    return files


async def open_context(home: Path, settings: GatewaySettings, log: FilteringBoundLogger) -> Context:
    """Verify the policy, bring the database up to date. Raises PeerFault, PolicyRefusal and OSError."""
    make_folder(home)
    repository = home / settings.policy
    published = read_published(home, repository, int(time.time()), log)
    database = Database(home / "gateway.db")
    await database.migrate()
    spool = Spool(make_folder(home / "spool"), settings.free_space)
    context = Context(home, settings, repository, published, database, spool, log)
    async with database.reading() as session:
        running = oldest_open(session)
    context.running_vector = (running and running.vector_length) or 0
    return context


async def serve(home: Path, settings: GatewaySettings, log: FilteringBoundLogger, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT. Raises PortTaken and what opening the parts raises."""
    tls = tls_files(home, settings)
    context = await open_context(home, settings, log)
    try:
        services = await _services(context)
        with closing(bind(settings.host, settings.port)) as listener, _metrics(context) as metrics_url:
            server = HttpsServer(Outermost(create_app(services), services), listener, tls, settings)
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            await _run(services, server, lambda: announce(f"https://{shown}:{port}", metrics_url))
    finally:
        await context.database.close()


async def _services(context: Context) -> Services:
    settings = context.settings
    nonces = NonceBook(context.database)
    await nonces.load(int(time.time()))
    gate = Gate(
        Callers.of(context.policy), nonces, settings, lambda code: context.metrics.refused.labels(code).inc()
    )
    driver = Driver(context, settings.enclave_socket or str(enclave_socket(context.home)))
    await driver.mirror.load()
    await known_callers(context, gate)
    return Services(context, gate, driver, context.published)


async def _run(services: Services, server: HttpsServer, accepting: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    context = services.context
    follower = PolicyFollower(context, services.gate)
    driving = asyncio.create_task(services.driver.run())
    following = asyncio.create_task(follower.run())
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(stopping.wait())
    # One turn of the loop starts the server; the socket listens already.
    await asyncio.sleep(0)
    accepting()
    await asyncio.wait({waiting, serving, driving, following}, return_when=asyncio.FIRST_COMPLETED)
    context.log.info("stopping")
    context.bells.close()
    for task in (driving, following, waiting):
        task.cancel()
    server.signal_handler_interrupt()  # type: ignore[no-untyped-call]
    done, _ = await asyncio.wait({serving, driving, following}, timeout=LEAVE_SECONDS)
    for task in done:
        if not task.cancelled():
            # None ends by itself: whatever it raised is a bug.
            task.result()


@contextmanager
def _metrics(context: Context) -> Iterator[str]:
    host, port = context.settings.metrics_host, context.settings.metrics_port
    try:
        server = context.metrics.serve(host, port)
    except OSError as error:
        raise PortTaken(f"metrics on {host}:{port}: {error.strerror}") from error
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
