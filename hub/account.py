"""Check who is logged in to the Hub, and which repositories they can write to."""

import os
from typing import Any

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from hub.client import PublishError, ask, ask_if_there

READ_ONLY_ROLES = {"read", "no_access"}  # in an organisation
SETTINGS = "https://huggingface.co/settings/tokens"


def check_account(repo: str, token: str | None = None, kind: str = "model") -> None:
    """Check that the current login can write to a repository; call this before long work.

    A token in an unknown format passes the check.

    Args:
        repo: "user/name"; it need not exist yet.
        token: by default the token of this machine's login.
        kind: "model" or "space".

    Raises:
        PublishError: nobody is logged in, or write access is missing.
    """
    check_name(repo)
    given, token = token, token or get_own_token(repo, kind)
    api = HfApi(token=token)
    if token.startswith("hf_jwt_"):  # a trusted publisher's token, for one repository and no account
        if ask_if_there(lambda: api.repo_info(repo, repo_type=kind), repo) is None:
            raise PublishError(
                f"There is no {repo} on the Hub yet, and a trusted publisher cannot create it: create it on the Hub, "
                "and add this job in its settings, under Trusted Publishers."
            )
        return
    account = ask(api.whoami, repo, token=given)
    try:
        missing = find_missing_right(account, repo, kind)
    except (AttributeError, TypeError, LookupError):  # not the Hub's format
        return
    if missing:
        raise PublishError(missing)


def get_own_token(repo: str, kind: str = "model") -> str:
    """Return the token of this machine's login, or the token that a CI job gets in exchange for its identity.

    Raises:
        PublishError: there is no token, or it is for another repository.
    """
    resource = os.environ.get("HF_OIDC_RESOURCE", "")
    wanted = f"spaces/{repo}" if kind == "space" else repo
    if resource and resource.casefold().removeprefix("models/") != wanted.casefold():
        kind_of_token = "can write only to that repository" if "/" in resource else "can only read"
        raise PublishError(f"HF_OIDC_RESOURCE is {resource}, whose token {kind_of_token}; set it to {wanted}")
    try:
        token = ask(get_token, repo)
    except PublishError as error:
        if not resource:
            raise
        other = " To use HF_TOKEN instead, unset HF_OIDC_RESOURCE." if os.environ.get("HF_TOKEN") else ""
        raise PublishError(
            f"{error} HF_OIDC_RESOURCE is {resource}: that repository must exist and list this job in its settings, "
            f"under Trusted Publishers.{other}"
        ) from error
    if not token:
        raise PublishError("Nobody is logged in to the Hub here; log in with a token that can write: hf auth login")
    return token


def find_missing_right(account: dict[str, Any], repo: str, kind: str) -> str:
    """Return a sentence about the missing right to write to a repository, with the solution; "" if there is none.

    Args:
        account: the Hub's response to whoami.
        repo: "user/name".
        kind: "model" or "space".
    """
    if account.get("type", "user") not in ("user", "org"):
        return ""
    (owner, _, short), name = repo.partition("/"), account["name"]
    token = (account.get("auth") or {}).get("accessToken") or {}
    fine = token.get("fineGrained") or {}
    scopes = [scope["entity"] for scope in fine.get("scoped") or [] if is_writing(scope["permissions"])]
    may = any(covers(entity, repo, kind) for entity in scopes) or is_writing(fine.get("global") or [])
    groups = {group["name"].casefold(): group for group in account.get("orgs") or []}
    group = groups.get(owner.casefold())
    # HF_TOKEN counts more than a login.
    then = "set HF_TOKEN to it, or unset HF_TOKEN" if os.environ.get("HF_TOKEN") else "then: hf auth login"
    if token.get("role") == "read":
        return f"The token can only read; create one with the role write at {SETTINGS}, {then}"
    if group:
        role = group.get("roleInOrg")
        if role and {role, *(one.get("role") for one in group.get("resourceGroups") or [])} <= READ_ONLY_ROLES:
            return (
                f"Your role in {owner} is {role}, which cannot write to {repo}; ask its administrators for the role "
                f"contributor or write, or use {name}/{short}"
            )
    elif owner.casefold() != name.casefold() and not may:
        return f"You are {name} on the Hub and cannot write to {repo}; use {name}/{short}"
    if token.get("role") == "fineGrained" and isinstance(fine.get("scoped"), list) and not may:
        return (
            f"The token lacks the permission repo.write for {repo}; add it at {SETTINGS}, for that repository (if it "
            f"exists) or for all of {owner}, or create a token with the role write, {then}"
        )
    return ""


def is_writing(permissions: list[str]) -> bool:
    """Return True if the permissions of a token include writing to repositories."""
    return any(permission.startswith("repo.") and permission.endswith("write") for permission in permissions)


def covers(entity: dict[str, Any], repo: str, kind: str) -> bool:
    """Return True if the scope of a token's permissions includes a repository."""
    owner = repo.split("/", maxsplit=1)[0]
    named = {"user": owner, "org": owner, kind: repo}
    others = {"model", "dataset", "space", "kernel", "bucket", "collection", "oauth-app"} - {kind}
    if entity["type"] in others:
        return False
    wanted = named.get(entity["type"])  # unknown for other types, such as a resource group
    return wanted is None or not entity.get("name") or entity["name"].casefold() == wanted.casefold()


def check_name(repo: str) -> None:
    """Check that a repository name is valid on the Hub and includes an owner.

    Raises:
        PublishError: the name is invalid.
    """
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(f"The Hub does not accept the name {repo!r}: {error}") from None
    if "/" not in repo:
        raise PublishError(f"{repo!r} has no owner; use a name such as USER/cat_dog.")
