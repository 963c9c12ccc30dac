"""RaTEScore of two reports whose entities and their vectors are known.

Source: the released weights "long" and the matching of RaTEScore 0.6.0. Each entity takes its most similar entity of
the other report; similarities are weighted by the two types, and one found affirmed here and negated there is damped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instruct.evaluation.metric import Values

TYPES = ("ABNORMALITY", "ANATOMY", "DISEASE", "NON-ABNORMALITY", "NON-DISEASE")
NEGATION = 0.8716553966489615
_WEIGHT = np.array(
    (
        (0.4276119164393705, 0.6240929990607657, 0.0034478181112993847, 0.5431049700217344, 0.27005425386213877),
        (0.7487824274337533, 0.2856134859160784, 0.4592143222158069, 0.02097055139911715, 0.00013736314126696204),
        (0.8396510075734789, 0.9950209388542061, 0.8460555030578727, 0.9820689020512646, 0.3789136708096537),
        (0.16546764653692908, 0.018670610691852826, 0.719397354576018, 0.0009357166071730684, 0.0927333564267591),
        (0.7759420231214385, 0.1839139293714062, 0.10073046076318157, 0.03860183811876373, 0.34065681486566446),
    )
)
_NEGATED = np.array([kind.startswith("NON-") for kind in TYPES])
_FINDING = np.array([kind != "ANATOMY" for kind in TYPES])
NO_ENTITY = 0.5


def ratescore(prediction: tuple[Values, Sequence[str]] | None, reference: tuple[Values, Sequence[str]] | None) -> float:
    """Score of a pair, about [0, 1]; 0.5 where either report has no entity.

    Args:
        prediction: unit vectors, shape (entities, size), and types of the entities; None for none.
        reference: the same.
    """
    if prediction is None or reference is None:
        return NO_ENTITY
    (ours, our_types), (theirs, their_types) = prediction, reference
    cosine = theirs @ ours.T
    left = np.array([TYPES.index(kind) for kind in their_types])
    right = np.array([TYPES.index(kind) for kind in our_types])
    precision, recall = _one_way(cosine, left, right), _one_way(cosine.T, right, left)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _one_way(cosine: Values, own: Values, other: Values) -> float:
    best = cosine.argmax(axis=1)
    match = other[best]
    weight = _WEIGHT[own, match]
    crossed = _FINDING[own] & _FINDING[match] & (_NEGATED[own] != _NEGATED[match])
    value = cosine[np.arange(len(best)), best] * weight * np.where(crossed, NEGATION, 1.0)
    return float(value.sum() / weight.sum())
