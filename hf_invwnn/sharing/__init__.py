"""To the Hub: what may be uploaded, model cards, and pushes that are whole or not at all."""

from .allowed import may_be_uploaded, model_files
from .cards import histories_card, merged, predictor_card, unlearned_card
from .contents import contents_of
from .errors import HubUnreachable, NoToken, NoWritePermission, PushError, WrongRepository, WrongToken
from .pushing import check_repo_id, find_token, own_name, push_folder


__all__ = [
    "HubUnreachable",
    "NoToken",
    "NoWritePermission",
    "PushError",
    "WrongRepository",
    "WrongToken",
    "check_repo_id",
    "contents_of",
    "find_token",
    "histories_card",
    "may_be_uploaded",
    "merged",
    "model_files",
    "own_name",
    "predictor_card",
    "push_folder",
    "unlearned_card",
]
