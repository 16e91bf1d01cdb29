"""The exceptions that a user can do something about.

The command line prints the message and exits with 2; the HTTP layer turns it into an RFC 9457
problem document with `status`. Everything else is a defect and keeps its traceback.
"""


class HeadwaterError(Exception):
    """A message that names the value, the place and the way out."""

    status = 400
    title = "Bad request"


class NotFound(HeadwaterError):
    """A name or id that does not exist here."""

    status = 404
    title = "Not found"


class Conflict(HeadwaterError):
    """The request is valid, but the present state forbids it (a gate that refused, a job already running)."""

    status = 409
    title = "Conflict"


class TooLarge(HeadwaterError):
    """A document, question or body above its limit."""

    status = 413
    title = "Too large"


class Unsupported(HeadwaterError):
    """A format that Headwater does not read, or cannot (encrypted, binary)."""

    status = 415
    title = "Unsupported format"


class Unavailable(HeadwaterError):
    """Something outside the request is missing for now: a model, a hub, a process."""

    status = 503
    title = "Unavailable"
