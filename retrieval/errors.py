"""The exceptions of ``retrieval`` and ``indexer``.

A message says what was expected, what came and what to do next. The command line prints it in one line and
exits with the class's ``exit_status``: 2 for unusable arguments or input, 1 for anything else.
"""


class XmodalError(Exception):
    """Base class of all errors that ``retrieval`` and ``indexer`` raise on purpose."""

    exit_status = 1


class InputError(XmodalError):
    """An argument or an input of the caller cannot be used."""

    exit_status = 2


class OptionError(InputError):
    """An option or argument has an invalid value."""


class SourceError(InputError):
    """A source to index is missing, empty or malformed."""


class MassRemovalError(SourceError):
    """More than half of a source's indexed files are missing now."""


class MediaError(InputError):
    """A file or buffer cannot be decoded, or exceeds a limit."""


class UnreadableError(MediaError):
    """A file cannot be read now, or another program is writing to it; a retry may succeed."""


class NoSoundError(MediaError):
    """A video has no sound track."""


class ExpressionError(InputError):
    """A filter expression (``--where``, ``--holdout``) does not parse or names an unknown column."""


class NotAnIndexError(InputError):
    """The folder is not an index, or has no published generation."""


class IndexFormatError(InputError):
    """The index has a format that this version cannot read."""


class UnknownItemError(InputError):
    """The index has no item with this id."""


class EncoderMismatchError(InputError):
    """The available encoders are not the ones that the index was built with."""


class DependencyError(InputError):
    """A package or a system feature that an option needs is missing."""


class WeightsError(InputError):
    """A model's weights are missing, or belong to another model."""


class DeviceError(InputError):
    """The requested compute device is not available."""


class AlignmentError(XmodalError):
    """An alignment cannot be fitted on the available pairs, or applied to these features."""


class DamagedIndexError(XmodalError):
    """Files of the index contradict its manifest."""


class OutdatedReaderError(XmodalError):
    """The generation that an engine opened was removed, because newer ones were published since."""


class FullDiskError(XmodalError):
    """The disk of the index is full."""


class IndexBusyError(XmodalError):
    """Another job is writing to the index."""


class WorkerError(XmodalError):
    """No worker process can be started to decode files."""


class MissingFileError(InputError):
    """A file that the index names is missing from its source, or must not be served."""


class UnauthorizedError(InputError):
    """The server requires an access token, and the request has none or a wrong one."""


class TooLargeError(MediaError):
    """A request exceeds the server's size limit."""


class BusyError(XmodalError):
    """The server's queue is full; retry in a moment."""


class ServerError(XmodalError):
    """A server cannot be reached, or failed."""
