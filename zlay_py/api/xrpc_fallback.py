"""XRPC methods that this relay does not have, and the firehose asked for without a WebSocket."""

import falcon

from zlay_py.api.errors import XrpcError, invalid_request
from zlay_py.atproto import syntax
from zlay_py.errors import SyntaxInvalidError
from zlay_py.fanout import cursor


class SubscribeReposOverHttp:
    """Answers what the upgrade gate let through: a plain request, or an upgrade that must not happen."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        try:
            cursor.parse(req.get_param("cursor"))
        except SyntaxInvalidError as error:
            raise invalid_request(str(error)) from error
        resp.set_header("Upgrade", "websocket")
        raise XrpcError(426, "UpgradeRequired", "this endpoint is a WebSocket")


class UnknownMethod:
    """The last route under `/xrpc/`."""

    def __call__(self, req: falcon.Request, resp: falcon.Response, **named: str) -> None:  # noqa: ARG002
        nsid = named["nsid"]
        if not syntax.is_nsid(nsid):
            raise invalid_request("not the name of a method")
        raise XrpcError(501, "MethodNotImplemented", f"{nsid} is not implemented here")
