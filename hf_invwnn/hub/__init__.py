"""The Hugging Face Hub: which files may be uploaded, cards, and pushes of one commit."""

from .allowlist import may_be_uploaded, model_files
from .contents import Contents
from .errors import (
    CommitUnknownError,
    HubUnreachableError,
    InvalidTokenError,
    MissingTokenError,
    PushError,
    RepositoryError,
    WritePermissionError,
)
from .push import account_name, check_repo_id, push, resolve_token


__all__ = [
    "CommitUnknownError",
    "Contents",
    "HubUnreachableError",
    "InvalidTokenError",
    "MissingTokenError",
    "PushError",
    "RepositoryError",
    "WritePermissionError",
    "account_name",
    "check_repo_id",
    "may_be_uploaded",
    "model_files",
    "push",
    "resolve_token",
]
