"""A site's policy in words."""

from __future__ import annotations

from client.policy_file import INSTALLED, PolicyFile


def explain(policy: PolicyFile) -> str:
    """Say what a policy permits and what follows from that, one sentence a line."""
    return "\n".join([*_budget(policy), *_rounds(policy), *_code(policy), *_warnings(policy)])


def _budget(policy: PolicyFile) -> list[str]:
    delta = "the smaller of 1e-5 and 1/(10 n)" if policy.delta == "auto" else f"{policy.delta:g}"
    settings = {
        "adaptive": "Settings may differ from round to round; a filter keeps the budget whatever they are.",
        "fixed": "The first round's noise and sample rate hold for the ledger's life.",
    }
    return [
        f"Over its whole life, over all runs and servers, the data set spends at most epsilon "
        f"{policy.epsilon:g} at delta {delta}.",
        settings[policy.accounting],
    ]


def _rounds(policy: PolicyFile) -> list[str]:
    models = ", ".join(policy.permitted_models) or "none, so every run is refused"
    releases = ", ".join(policy.permitted_releases) or "nothing, so every round is refused"
    return [
        f"What may leave: {releases}.",
        f"Models that may be trained: {models}.",
        f"A round takes at most {_count(policy.most_steps_a_round, 'step')}, with noise of at least "
        f"{policy.least_noise_multiplier:g} times the clip, and a clip of at most {policy.largest_clip:g}.",
        f"With fewer than {_count(policy.least_examples, 'record')} the site takes no part.",
    ]


def _code(policy: PolicyFile) -> list[str]:
    pinned = sorted(app for app in policy.permitted_apps if app != INSTALLED)
    lines = ["The client runs its own code and never any that a server sends."]
    if INSTALLED in policy.permitted_apps:
        lines.append("It answers servers whose app is the one installed here.")
    lines += [f"It answers servers whose app has the SHA-256 sum {app}." for app in pinned]
    if not policy.permitted_apps:
        lines.append("No app is permitted, so every message is refused.")
    return lines


def _warnings(policy: PolicyFile) -> list[str]:
    lines = []
    if policy.amend_ledgers:
        lines.append("Warning: a changed data set goes on with its ledger; what was spent stays spent.")
    if policy.permit_reproducible_noise:
        lines.append("Warning: noise may be derived from a seed that the server knows: NOT PRIVATE.")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
