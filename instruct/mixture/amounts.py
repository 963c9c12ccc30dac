"""From the amounts of a recipe's entries to draws of an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from instruct.errors import SpecError
from instruct.mixture.quota import decimal, quotas, round_half_up
from instruct.mixture.recipe import Use


@dataclass(frozen=True)
class Claim:
    """An entry with what it selects.

    Attributes:
        place: ``file:line:column: key`` of the entry.
        use: the entry.
        rows: what each "[Task] [Dataset]" of it counts: rows, or the draws it has in a nested mixture.
    """

    place: str
    use: Use
    rows: Sequence[int]

    @property
    def capped(self) -> list[int]:
        """``rows``, none above the cap."""
        return [min(rows, self.use.cap or rows) for rows in self.rows]

    @property
    def limit(self) -> Fraction | None:
        """Draws that the caps allow; None for any number."""
        return None if self.use.cap is None else Fraction(self.use.cap * sum(rows > 0 for rows in self.rows))

    def weights(self, temperature: float) -> list[Fraction]:
        """Weight of each "[Task] [Dataset]" within the entry: rows^temperature.

        A nested mixture counts as one of so many rows; inside, its proportions stay.
        """
        if self.use.mixture is None:
            return [_power(rows, temperature) for rows in self.capped]
        whole = sum(self.rows)
        return [Fraction(rows, whole) * _power(whole, temperature) for rows in self.rows] if whole else []

    def split(self, draws: int, weights: Sequence[Fraction]) -> list[int]:
        """Draws of each "[Task] [Dataset]", none above the cap.

        Raises:
            SpecError: there are no rows, or the cap forbids as many.
        """
        if not any(weights):
            raise SpecError(
                f"{self.place}: {self.use.amount} asks for {draws:,} draws of what has no rows in this split"
            )
        try:
            return quotas(draws, weights, [self.use.cap] * len(weights))
        except ValueError as error:
            raise SpecError(f"{self.place}: {self.use.amount} asks for too much: {error}") from None


def _power(rows: int, exponent: float) -> Fraction:
    # Twelve digits, so that the last bit of a machine's power function decides nothing.
    return Fraction(f"{rows**exponent:.12g}") if rows else Fraction(0)


def allot(claims: Sequence[Claim], temperature: float, total: int | None, place: str) -> list[list[int]]:
    """Draws of an epoch, per entry and "[Task] [Dataset]".

    Counts and repeats are taken at their word; shares are parts of the total; weights divide what is left.

    Args:
        claims: the entries.
        temperature: exponent of the number of rows.
        total: draws of an epoch; None for as many as there are rows (caps, counts and repeats counted in).
        place: ``file:line:column: key`` of the total.

    Raises:
        SpecError: the amounts contradict each other or the caps.
    """
    weights = [claim.weights(temperature) for claim in claims]
    given: list[list[int]] = [[0] * len(claim.rows) for claim in claims]
    for number, claim in enumerate(claims):
        if claim.use.count is not None:
            given[number] = claim.split(claim.use.count, weights[number])
        elif claim.use.repeats is not None:
            given[number] = _repeated(claim)
    fixed = sum(map(sum, given))
    sharing = {number: decimal(claim.use.share) for number, claim in enumerate(claims) if claim.use.share is not None}
    weighted = {
        number: Fraction(1) if claim.use.weight is None else decimal(claim.use.weight)
        for number, claim in enumerate(claims)
        if claim.use.amount == "weight" and claim.use.weight != 0 and any(claim.rows)
    }
    taken = sum(sharing.values(), Fraction(0))
    if taken > 1:
        raise SpecError(f"{place}: the shares add up to {float(taken):g}, more than 1")
    if taken == 1 and (fixed or weighted):
        raise SpecError(f"{place}: the shares add up to 1 and leave nothing for the other entries")
    if total is None:
        total = _natural(claims, fixed, sharing, list(weighted), place)
    for_shares = quotas(total, [*sharing.values(), 1 - taken])[:-1] if weighted else _rest(sharing, total - fixed)
    left = total - fixed - sum(for_shares)
    if (
        left < 0
        or (left > 0 and not weighted)
        or (not weighted and abs(taken * total - sum(for_shares)) > len(sharing))
    ):
        raise SpecError(
            f"{place}: {total:,} draws in all contradict the entries: counts and repeats give {fixed:,}, shares "
            f"{round_half_up(taken * total):,}" + ("" if weighted else ", and no entry with a weight takes the rest")
        )
    for (number, _), draws in zip(sharing.items(), for_shares, strict=True):
        given[number] = claims[number].split(draws, weights[number])
    pool = [(number, weight * inner) for number, weight in weighted.items() for inner in weights[number]]
    try:
        drawn = iter(quotas(left, [weight for _, weight in pool], [claims[number].use.cap for number, _ in pool]))
    except ValueError as error:
        raise SpecError(f"{place}: the entries with a weight cannot take their {left:,} draws: {error}") from None
    for number in weighted:
        given[number] = [next(drawn) for _ in given[number]]
    return given


def _repeated(claim: Claim) -> list[int]:
    repeats = decimal(claim.use.repeats or 0)
    cap = claim.use.cap
    wanted = [repeats * rows if cap is None else min(repeats * rows, Fraction(cap)) for rows in claim.rows]
    return quotas(round_half_up(sum(wanted, Fraction(0))), wanted, [cap] * len(wanted))


def _natural(
    claims: Sequence[Claim], fixed: int, sharing: Mapping[int, Fraction], weighted: Sequence[int], place: str
) -> int:
    """The total of a recipe that gives none: the rows under weights and shares once, or what the caps allow of that."""
    taken = sum(sharing.values(), Fraction(0))
    if sharing and not weighted and taken < 1:
        if not fixed:
            raise SpecError(
                f"{place}: the shares add up to {float(taken):g}, and no other entry takes the rest; make them 1, or "
                "give another entry a weight"
            )
        return int(fixed / (1 - taken))
    limits = [limit / share for number, share in sharing.items() if (limit := claims[number].limit) is not None]
    free = [claims[number].limit for number in weighted]
    if weighted and None not in free:
        limits.append((fixed + sum(limit or 0 for limit in free)) / (1 - taken))
    rows = fixed + sum(sum(claims[number].capped) for number in (*sharing, *weighted))
    return int(min([Fraction(rows), *limits]))  # rounded down: up could be more than the caps allow


def _rest(sharing: dict[int, Fraction], draws: int) -> list[int]:
    return quotas(max(draws, 0), list(sharing.values())) if sharing else []
