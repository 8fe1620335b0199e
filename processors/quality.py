"""What every part of the system raises when an input cannot be used."""


class BadInputError(Exception):
    """An input that breaks its contract, with a machine-readable cause.

    Parameters
    ----------
    cause : str
        Short code in snake case, stable across releases, for reports and quarantine records.
    message : str
        One sentence naming what is wrong.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause
