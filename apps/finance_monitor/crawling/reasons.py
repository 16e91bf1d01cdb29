"""What went wrong with a download, in words that say what to do."""

_KNOWN = {
    "TCPTimedOutError": "no connection within the time; the host may be down",
    "DownloadConnectionRefusedError": "the connection was refused; the host may be down",
    "ConnectionRefusedError": "the connection was refused; the host may be down",
    "DNSLookupError": "the host name is not known; check the address",
    "CannotResolveHostError": "the host name is not known; check the address",
    "DownloadCancelledError": "the answer is larger than HEADWATER_MAX_DOCUMENT_BYTES",
    "ResponseNeverReceived": "the connection was cut before an answer",
    "ResponseFailed": "the connection was cut in the middle of the answer",
    "ResponseDataLossError": "the connection was cut in the middle of the answer",
    "UnsupportedURLSchemeError": "only http and https addresses are fetched",
    "BadZipFile": "the answer is packed wrongly",
}
_STATUS = {
    401: "the site wants a login",
    402: "the site wants to be paid",
    403: "the site wants no visit, or a login",
    404: "there is nothing at this address; check it",
    410: "what was at this address is gone for good; look for another",
    429: "the site asks for fewer visits; a larger `every` or `delay` may help",
    451: "the site may not show it here",
    503: "the site asks for a pause",
}


def is_too_large(error: BaseException) -> bool:
    """Whether the answer was above the limit on bytes, as sent or when unpacked."""
    return type(error).__name__ == "DownloadCancelledError" or "exceeded DOWNLOAD_MAXSIZE" in str(error)


def explain(error: BaseException, timeout: float) -> str:
    """Words for an exception of a download."""
    name = "DownloadCancelledError" if is_too_large(error) else type(error).__name__
    if "timeout" in name.lower() and name not in _KNOWN:
        return f"no complete answer within {timeout:g} s"
    if name in _KNOWN:
        return _KNOWN[name]
    said = " ".join(str(error).split())
    if name == "DownloadFailedError":
        return f"the connection failed: {said or 'it was cut'}"[:300]
    return (said or name)[:300]


def explain_status(url: str, status: int) -> str:
    """Words for an HTTP status that is no answer."""
    why = _STATUS.get(status) or ("the site has a fault; it is tried again" if status >= 500 else "")
    return f"{url} answered {status}{': ' if why else ''}{why}"
