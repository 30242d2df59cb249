"""Error answers as XRPC clients expect them: `{"error": Name, "message": text}`, never HTML (atproto HTTP API spec)."""

import falcon

from zlay_py.logs import get_logger
from zlay_py.state.failures import StateUnavailableError

log = get_logger(__name__)

NAMES = {
    400: "InvalidRequest",
    401: "AuthenticationRequired",
    403: "Forbidden",
    404: "XRPCNotSupported",
    405: "InvalidRequest",
    406: "NotAcceptable",
    413: "PayloadTooLarge",
    415: "UnsupportedMediaType",
    426: "UpgradeRequired",
    429: "RateLimitExceeded",
    501: "MethodNotImplemented",
    503: "NotEnoughResources",
}
"""The name for a status that nothing more exact was said of."""


class XrpcError(Exception):
    """Raise it in a resource: it becomes the answer. `name` as the lexicon declares it."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message


def invalid_request(message: str) -> XrpcError:
    return XrpcError(400, "InvalidRequest", message)


def install(app: falcon.App) -> None:  # type: ignore[type-arg]
    """Makes every error of `app` an XRPC error. An unforeseen one is logged and says nothing about us."""
    app.add_error_handler(Exception, _unforeseen)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(XrpcError, _xrpc_error)
    app.add_error_handler(StateUnavailableError, _database_away)


def _answer(resp: falcon.Response, status: int, name: str, message: str) -> None:
    resp.status = falcon.code_to_http_status(status)
    resp.media = {"error": name, "message": message}


def _xrpc_error(_req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, object]) -> None:
    assert isinstance(error, XrpcError)
    _answer(resp, error.status, error.name, error.message)


def _http_error(_req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, object]) -> None:
    assert isinstance(error, falcon.HTTPError)
    status = int(str(error.status)[:3])
    if error.headers:
        resp.set_headers(error.headers)
    _answer(resp, status, NAMES.get(status, "InvalidRequest"), error.description or error.title or "")


def _database_away(_req: falcon.Request, resp: falcon.Response, _error: Exception, _params: dict[str, object]) -> None:
    _answer(resp, 503, NAMES[503], "the database does not answer")  # nor says why: that names places of ours


def _unforeseen(req: falcon.Request, resp: falcon.Response, error: Exception, _params: dict[str, object]) -> None:
    log.error("a request met a bug of ours", path=req.path, error=repr(error), exc_info=error)
    _answer(resp, 500, "InternalServerError", "internal error")
