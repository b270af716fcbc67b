"""The one exception whose message is meant for the person at the keyboard."""

__all__ = ["CourseError"]


class CourseError(Exception):
    """What went wrong and where, in one line; the command line prints it without a traceback.

    >>> str(CourseError("solutions/01.py:3: unknown keyword 'worth'"))
    "solutions/01.py:3: unknown keyword 'worth'"
    """
