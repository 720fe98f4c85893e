"""Every error that a user can meet. The command line prints the message as one line and exits with 2.

    MnistEdgeError
    ├── DataError             the dataset is missing, damaged or of another form
    ├── PictureError          a picture cannot be read, or shows no digit
    ├── ModelError            no such recipe, or a Keras model that cannot be used
    ├── FolderError           an export folder without a manifest, or with a damaged one
    ├── LockError             another process changes the folder
    ├── PublishError          new files are complete, but could not be moved to their place
    ├── ArtifactError         an exported file is missing, truncated or foreign
    │   ├── IntegrityError    its SHA-256 is not the manifest's
    │   ├── RefusedError      the installed runtime does not load it
    │   └── CustomCodeNeeded  a Keras model has layers or functions that are not Keras's own
    ├── UnsupportedPrecision  this format cannot hold that precision
    ├── ConversionError       a converter failed, or broke the contract
    ├── ToleranceError        a limit of verify that does not exist, or is no number
    ├── SnippetError          there is no code that embeds this file in that language
    ├── DeviceError           a board, or its emulation, cannot be reached or made ready
    ├── HostError             this machine cannot be measured, or not as asked; or its clock is wrong
    ├── AddressError          the demo cannot be served at that address or port
    └── MissingRuntime        a package that this step needs is not installed
        └── BrokenRuntime     it is installed, and does not load here

Each message says what is wrong and what to do next.
"""


class MnistEdgeError(Exception):
    """Base of all errors that are the input's or the environment's, not a bug of ours."""


class DataError(MnistEdgeError):
    """The dataset is missing, damaged or of another form."""


class PictureError(MnistEdgeError):
    """A picture cannot be read, or shows no digit."""


class ModelError(MnistEdgeError):
    """There is no such recipe, or the Keras model cannot be used."""


class FolderError(MnistEdgeError):
    """An export folder has no manifest, or a damaged one."""


class LockError(MnistEdgeError):
    """Another process changes the folder, and did not end in time."""


class PublishError(MnistEdgeError):
    """New files are complete and are read where they are, but could not be moved to their place."""


class ArtifactError(MnistEdgeError):
    """An exported file is missing, truncated or foreign."""


class IntegrityError(ArtifactError):
    """A file's SHA-256 is not the one in the manifest."""


class RefusedError(ArtifactError):
    """The installed runtime does not load a file: it is too new, or has operators of another library."""


class CustomCodeNeeded(ArtifactError):
    """A Keras model has layers or functions that are not Keras's own, and their code was not given."""


class UnsupportedPrecision(MnistEdgeError):
    """The format cannot hold that precision."""


class ConversionError(MnistEdgeError):
    """A converter failed, or what it wrote breaks the contract."""


class ToleranceError(MnistEdgeError):
    """A limit of `verify` does not exist, or is no number that can be one."""


class SnippetError(MnistEdgeError):
    """There is no code that embeds this file in that language."""


class DeviceError(MnistEdgeError):
    """A board, or its emulation, cannot be reached or made ready."""


class HostError(MnistEdgeError):
    """This machine cannot be measured, or not in the way that was asked for; or its clock is wrong by decades."""


class AddressError(MnistEdgeError):
    """The demo cannot be served at that address or port."""


class MissingRuntime(MnistEdgeError):
    """A package that this step needs is not installed."""


class BrokenRuntime(MissingRuntime):
    """A package that this step needs is installed, and does not load here."""
