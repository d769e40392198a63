"""The one error of this package."""


class EmbeddedError(Exception):
    """An embedded server cannot be started, or did not stay up.

    The text is for a person: what happened, what to do about it and, where there is one, the end of its log.
    """
