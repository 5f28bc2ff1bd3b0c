"""What can go wrong in a run beside the plugin's own errors."""
from ..errors import DukdError


class RunError(DukdError):
    """A run that cannot begin or go on: a training state, ranks, data, a value that is not finite."""
