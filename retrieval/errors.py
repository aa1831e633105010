"""Everything that can go wrong, as one small tree.

A message says what was expected, what came and what to do next. The command line prints it in one line and
ends with the class's ``exit_status``: 2 for unusable arguments or input, 1 for anything else.
"""


class XmodalError(Exception):
    """The root of all errors raised on purpose by ``retrieval`` and ``indexer``."""

    exit_status = 1


class InputError(XmodalError):
    """Something the caller handed in cannot be used."""

    exit_status = 2


class OptionError(InputError):
    """An option or argument has a value outside what it accepts."""


class SourceError(InputError):
    """A source to index is missing, empty or malformed."""


class MassRemovalError(SourceError):
    """More than half of what the index has of a source is not there any more."""


class MediaError(InputError):
    """A file or buffer cannot be decoded, or exceeds a limit."""


class UnreadableError(MediaError):
    """A file cannot be read now, or somebody writes to it: another time it may be whole."""


class NoSoundError(MediaError):
    """A video has pictures and no sound track."""


class ExpressionError(InputError):
    """A filter expression (``--where``, ``--holdout``) does not parse or names an unknown column."""


class NotAnIndexError(InputError):
    """The folder is not an index, or holds no published generation."""


class IndexFormatError(InputError):
    """The index was written in a format this version does not read."""


class UnknownItemError(InputError):
    """An item id that the index does not hold."""


class EncoderMismatchError(InputError):
    """The encoders at hand are not those the index was built with."""


class DependencyError(InputError):
    """A package that an option needs is not installed."""


class WeightsError(InputError):
    """A model's weights are not where they were looked for, or are not that model's."""


class DeviceError(InputError):
    """The compute device asked for is not there."""


class AlignmentError(XmodalError):
    """An alignment cannot be fitted on the pairs at hand, or applied to these features."""


class DamagedIndexError(XmodalError):
    """Files of the index contradict its manifest."""


class OutdatedReaderError(XmodalError):
    """The generation that an engine opened is gone: newer ones were published since."""


class FullDiskError(XmodalError):
    """There is no room left on the disk of the index."""


class IndexBusyError(XmodalError):
    """Another job is writing to the index."""


class WorkerError(XmodalError):
    """No process can be started to decode files in."""


class MissingFileError(InputError):
    """A file that the index names is not where its source was, or must not be served."""


class UnauthorizedError(InputError):
    """A server wants a token, and none or a wrong one came."""


class TooLargeError(MediaError):
    """A request holds more than a server takes."""


class BusyError(XmodalError):
    """A server has as much to do as it takes on: ask again in a moment."""


class ServerError(XmodalError):
    """A server cannot be reached, or failed."""
