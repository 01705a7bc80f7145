"""An HTTP server of a few files on a port of this machine, that behaves as it is told: the first
part of an address's path says how.

    /good/FILE          with ranges
    /cut/FILE           every answer ends after CUT_BYTES, though it has announced more
    /cut-once/FILE      the first answer of the server's life does; then 503, until heal()
    /no-ranges/FILE     ranges are ignored
    /other-range/FILE   a range begins a byte later than it was asked for
    /wrong/FILE         one byte is another
    /large/FILE         a byte more, and says so
    /endless/FILE       does not say how much, and does not end
    /moved/FILE         leads to /good/FILE
    /to-file/FILE       leads to a file of this machine
    /round/FILE         leads to itself
    /busy/FILE          503
"""

import http.server
import threading

CUT_BYTES = 50_000


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        _, how, name = self.path.split("/", 2)
        server.asked.append((how, self.headers.get("Range")))
        self.close_connection = True
        if name not in server.files:
            self.empty(404)
        elif how in ("moved", "to-file", "round"):
            self.empty(302, Location={"moved": f"/good/{name}", "to-file": "file:///etc/hostname",
                                      "round": self.path}[how])
        elif how == "busy" or (how == "cut-once" and not server.healed and server.cuts > 0):
            self.empty(503)
        elif how == "endless":
            self.endless()
        else:
            self.file(how, server.files[name])

    def empty(self, code, **headers):
        self.send_response(code)
        for key, value in {"Content-Length": "0", **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def endless(self):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"0" * 65536)
        except OSError:
            pass  # The client has had enough.

    def file(self, how, content):
        asked = self.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if how == "no-ranges":
            asked, begin = None, 0
        if how == "wrong":
            content = content[:1000] + bytes([content[1000] ^ 1]) + content[1001:]
        if how == "large":
            content += b"0"
        if begin >= len(content):
            self.empty(416, **{"Content-Range": f"bytes */{len(content)}"})
            return
        begin += how == "other-range" and asked is not None
        body = content[begin:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if how == "cut" or (how == "cut-once" and not self.server.healed):
            self.server.cuts += 1
            body = body[:CUT_BYTES]
        self.wfile.write(body)


class FileServer(http.server.ThreadingHTTPServer):
    """Files by name, to bytes. As a context: serves until its end."""

    daemon_threads = True

    def __init__(self, files, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.cuts, self.healed = files, [], 0, False
        self.scheme = "http"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    def handle_error(self, request, client_address):
        pass  # A client that does not trust the certificate, or has had enough.

    def address(self, how):
        return f"{self.scheme}://127.0.0.1:{self.server_port}/{how}"

    def heal(self):
        self.healed = True

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
