"""The service as a process: built from the settings of its environment, served by uvicorn."""

import gc
import sys
import warnings
from pathlib import Path
from typing import Any

from infra import catalog_store, database, object_store, settings


def application() -> Any:
    """Service of this installation, for every worker process.

    Returns
    -------
    callable
        ASGI application.
    """
    service = built(settings.current())
    # The heap of the libraries is there to stay: looking through it again and again held requests up for 0.1 s.
    gc.collect()
    gc.freeze()
    # Threads that compute hand over after 5 ms otherwise, which is longer than most questions take.
    sys.setswitchinterval(0.001)
    return service


def built(chosen: settings.Settings) -> Any:
    """Service of an installation whose stores run.

    Parameters
    ----------
    chosen : infra.settings.Settings
        Its settings.

    Returns
    -------
    callable
        ASGI application.
    """
    with warnings.catch_warnings():
        # The library imports a response class that FastAPI no longer recommends; nothing here uses it.
        warnings.filterwarnings("ignore", message="ORJSONResponse is deprecated")
        from infra.delivery import fair_share, gateway, identity

    engine = database.pooled_engine(chosen.resolved_database_url())
    linked = chosen.model_copy(update={"s3_endpoint_url": chosen.service_store_url or chosen.s3_endpoint_url})
    return gateway.application(
        gateway.Parts(
            catalog=catalog_store.CatalogStore(engine),
            store=object_store.from_settings(linked),
            home=chosen.home,
            identities=identity.Identities(engine, _tokens(chosen)),
            limits=fair_share.Limits(
                rate=chosen.service_rate, burst=chosen.service_burst, places=chosen.service_places
            ),
        )
    )


def _tokens(chosen: settings.Settings) -> Any:
    from infra.delivery import identity

    if chosen.oidc_issuer is None or chosen.oidc_jwks is None:
        return None
    address = chosen.oidc_jwks
    return identity.TokenVerifier(
        issuer=chosen.oidc_issuer,
        audience=chosen.oidc_audience,
        jwks=address if "://" in address else Path(address),
    )
