"""Promote: the version becomes the champion, if it earned it and nobody came in between."""

from components.artifacts import Promotion, RegisteredModel, Verdict
from components.errors import GateRefused


def promote(registered: RegisteredModel, verdict: Verdict, *, expected: int | None) -> Promotion:
    """The champion moved to this version; `expected` is the champion that the verdict is about.

    A version that is the champion already, or that was rolled back by hand, is left as it is.
    Done twice, it is told once: where the registry's answer was lost, it may be asked again.

    Raises:
        GateRefused: the verdict did not pass; it lists the failed checks.
        ChampionMoved: the champion is no longer the expected one (a UsageError): judge again.
        IntegrityError: the version's files are damaged, or the history is; the champion stays.
    """
    from components.history import record, record_once
    from components.registry.moving import promote as move

    name, version = registered.name, registered.version
    evidence = {
        "verdict": verdict.digest,
        "candidate": verdict.candidate,
        "against": verdict.against,
        "rival": verdict.rival,
        "p_value": verdict.p_value,
        "bundle": registered.bundle,
    }
    if not verdict.passed:
        failed = [check for check in verdict.checks if not check.passed]
        why = "; ".join(f"{check.rule}: {check.observed}" for check in failed)
        record(name, "refused", version, previous=expected, why=why, evidence=evidence)
        raise GateRefused(
            f"{name} v{version} did not pass the gate: {why}",
            f"the champion stays; athanor promote {name} {version} --force --reason TEXT overrules",
        )
    why = f"{verdict.rule} than {verdict.rival}" if verdict.rule != "first" else "first version"
    record_once(name, "judged", version, previous=expected, why=why, evidence=evidence)
    return move(name, version, expected=expected, why=why, evidence=evidence)
