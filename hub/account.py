"""Who is logged in, and what they may write to."""

import os
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from hub.client import PublishError, ask, if_there

READ_ONLY_ROLES = {"read", "no_access"}  # in an organisation
SETTINGS = "https://huggingface.co/settings/tokens"


def check_account(repo: str, token: str | None = None, kind: str = "model") -> None:
    """Check that whoever is logged in may write to a repository; call it before long work begins.

    A token of an unknown shape passes: it might be one that may.

    Args:
        repo: "user/name", which need not exist yet.
        token: by default the one that this machine is logged in with.
        kind: "model" or "space".

    Raises:
        PublishError: nobody is logged in, or they may not write there.
    """
    check_name(repo)
    token = token or own_token(repo, kind)
    api = HfApi(token=token)
    if token.startswith("hf_jwt_"):  # a trusted publisher's: it belongs to one repository, and to no account
        if if_there(lambda: api.repo_info(repo, repo_type=kind), repo) is None:
            raise PublishError(
                f"There is no {repo} on the Hub yet, and a trusted publisher cannot make it: make it on the Hub, and "
                "name this job in its settings, under Trusted Publishers."
            )
        return
    account = ask(api.whoami, repo)
    try:
        missing = lacking(account, repo, kind)
    except (AttributeError, TypeError, LookupError):  # another shape than the Hub's
        return
    if missing:
        raise PublishError(missing)


def own_token(repo: str, kind: str = "model") -> str:
    """Return the token that this machine is logged in with, or the one that a CI job gets in exchange for its identity.

    Raises:
        PublishError: there is none, or it is for something else.
    """
    resource = os.environ.get("HF_OIDC_RESOURCE", "")
    wanted = f"spaces/{repo}" if kind == "space" else repo
    if resource and resource.casefold().removeprefix("models/") != wanted.casefold():
        kind_of_token = "may write to that alone" if "/" in resource else "may only read"
        raise PublishError(f"HF_OIDC_RESOURCE is {resource}, whose token {kind_of_token}; set it to {wanted}")
    try:
        token = ask(get_token, repo)
    except PublishError as error:
        if not resource:
            raise
        raise PublishError(
            f"{error} HF_OIDC_RESOURCE is {resource}: that repository must exist and name this job in its settings, "
            "under Trusted Publishers."
        ) from error
    if not token:
        raise PublishError("Nobody is logged in to the Hub here: hf auth login, with a token that may write.")
    return token


def lacking(account: dict[str, Any], repo: str, kind: str) -> str:
    """Return what an account or its token lacks to write to a repository, in a sentence with the cure; "" if nothing.

    Args:
        account: the Hub's answer to whoami.
        repo: "user/name".
        kind: "model" or "space".
    """
    if account.get("type", "user") not in ("user", "org"):
        return ""
    owner, name = repo.split("/", maxsplit=1)[0], account["name"]
    token = (account.get("auth") or {}).get("accessToken") or {}
    fine = token.get("fineGrained") or {}
    scopes = [scope["entity"] for scope in fine.get("scoped") or [] if is_writing(scope["permissions"])]
    may = any(covers(entity, repo, kind) for entity in scopes) or is_writing(fine.get("global") or [])
    groups = {group["name"].casefold(): group for group in account.get("orgs") or []}
    group = groups.get(owner.casefold())
    if token.get("role") == "read":
        return f"The token may only read; make one with the role write at {SETTINGS}, then: hf auth login"
    if group:
        role = group.get("roleInOrg")
        if role and {role, *(one.get("role") for one in group.get("resourceGroups") or [])} <= READ_ONLY_ROLES:
            return (
                f"Your role in {owner} is {role}, which may not write to {repo}; ask its administrators for the role "
                f"contributor or write, or use {name}/…."
            )
    elif owner.casefold() != name.casefold() and not may:
        return f"You are {name} on the Hub and may not write to {repo}; use {name}/…."
    if token.get("role") == "fineGrained" and isinstance(fine.get("scoped"), list) and not may:
        return (
            f"The token lacks the permission repo.write for {repo}; add it at {SETTINGS}, for that repository if it is "
            f"there already or for all of {owner}, or use a token with the role write: hf auth login"
        )
    return ""


def is_writing(permissions: list[str]) -> bool:
    """Return True if one of a token's permissions is to write to repositories."""
    return any(permission.startswith("repo.") and permission.endswith("write") for permission in permissions)


def covers(entity: dict[str, Any], repo: str, kind: str) -> bool:
    """Return True if what a token's permissions are about is a repository, or all of its owner's."""
    owner = repo.split("/", maxsplit=1)[0]
    named = {"user": owner, "org": owner, kind: repo}
    others = {"model", "dataset", "space", "kernel", "bucket", "collection", "oauth-app"} - {kind}
    if entity["type"] in others:
        return False
    wanted = named.get(entity["type"])  # of another kind, such as a resource group, it cannot be told
    return wanted is None or not entity.get("name") or entity["name"].casefold() == wanted.casefold()


def check_name(repo: str) -> None:
    """Check that a repository is named as the Hub names them, with its owner.

    Raises:
        PublishError: it is not.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(f"{repo!r} is not a name the Hub accepts: {error}") from None
    if "/" not in repo:
        raise PublishError(f"{repo!r} has no owner; it must be like USER/cat_dog.")
