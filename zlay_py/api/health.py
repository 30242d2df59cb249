"""`/_health`: cheap, true as long as the process answers. Whether it can do its work: `/_ready`, metrics port."""

import falcon

from zlay_py import __version__


class Health:
    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.media = {"status": "ok", "version": __version__}
