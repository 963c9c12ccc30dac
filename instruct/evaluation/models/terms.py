"""May reports be sent to a judge elsewhere? Not those of sources whose terms forbid it, unless the user says so."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from instruct.errors import TermsError
from instruct.evaluation.metric import Settings
from instruct.evaluation.pairs import Pairs
from instruct.specs.task_spec import load_task_specs
from instruct.specs.terms import refusals, with_upstream


def check_terms(metric: str, pairs: Pairs, url: str, settings: Settings) -> None:
    """Refuse to send reports of sources whose terms forbid it, or of unknown ones, to another machine.

    Args:
        metric: the metric, for the message.
        pairs: what would be sent; its rows name their dataset in ``dataset``.
        url: the endpoint; one on this machine (localhost) is always allowed.
        settings: with ``allow_third_party``.

    Raises:
        TermsError: the terms forbid it and ``allow_third_party`` is not set.
    """
    host = urlsplit(url).hostname or ""
    if settings.allow_third_party or _is_here(host):
        return
    specs = {entry.spec.source: entry.spec for entry in load_task_specs()}
    refused = []
    for dataset in sorted({str(extra.get("dataset") or "") for extra in pairs.extras}):
        named = [spec.source for spec in specs.values() if dataset.lower() in (spec.dataset.lower(), spec.source)]
        closed = refusals("judge", with_upstream(named))
        if closed:
            spec = specs[closed[0].source]
            refused.append(f"{dataset} ({spec.dataset} is {spec.access}: {closed[0].clause})")
        elif not named:
            refused.append(f"{dataset or 'a dataset that the file does not name'} (terms unknown)")
    if refused:
        raise TermsError(
            f"{metric} would send {len(pairs)} pairs of reports to {host}: {'; '.join(refused)}. "
            "Reports of sources whose terms forbid it, and of sources this package does not know, are not sent to "
            "third parties. Use a judge on this machine (a folder, or an endpoint on localhost), give its outputs with "
            "--judgements, or, if your agreement allows it, add --allow-third-party"
        )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
