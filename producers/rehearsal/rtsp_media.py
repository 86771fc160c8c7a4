"""An RTSP server on loopback, for the system's Python (GStreamer's bindings are Debian's): see rtsp_server.py.

    python3 rtsp_media.py PORT FOLDER [USER PASSWORD]

FOLDER/NAME.mp4 (H.264) is played at rtsp://127.0.0.1:PORT/NAME, from its beginning for each who asks, in its own time.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

_PIPELINE = '( filesrc location="{}" ! qtdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )'


class Media(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    """Plays the file as it is when somebody asks: a test may change it between two openings."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def do_create_element(self, _url: object) -> object:
        return Gst.parse_launch(_PIPELINE.format(self._file))


def main(port: str, folder: str, user: str = "", password: str = "") -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    for file in Path(folder).glob("*.mp4"):
        factory = Media(file)
        if user:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("user", "media.factory.access", True)
            permissions.add_permission_for_role("user", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(f"/{file.stem}", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
