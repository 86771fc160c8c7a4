"""Where a URL leads, without what proves that one may go there."""

from urllib.parse import urlsplit


def address_of(url: str, user: str = "") -> str:
    """`url` without its credentials, with `user` in their place (`name@`, as it shall stand).

    Of a query nothing but the database is kept: it may carry a password too. Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    query = "&".join(part for part in parts.query.split("&") if part.startswith("db="))
    # Put together by hand: urlunsplit drops the slashes of a URL without a host, as of a socket.
    return f"{parts.scheme}://{user}{parts.netloc.rpartition('@')[2]}{parts.path}" + (f"?{query}" if query else "")
