"""Groups the rows of one matrix so that blocks of R rows x 1 column hold more magnitude."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Quantiles of the magnitudes between which the ranking of swaps interpolates.
_LEVELS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.97)
_SAMPLE = 1 << 16


class RowGroups:
    """Rows of magnitudes in groups of R, improved by swaps at a fixed threshold t.

    The block of a group g and a column c has the score s_gc = sum of the group's magnitudes in the
    column, as `make_mask` scores it. The objective is the magnitude above the threshold,

        f = sum over g, c of max(s_gc - t, 0),

    since f + t * (number of kept blocks) is what the kept blocks hold where t is their least score,
    and a bound on it for every other t.

    Args:
        magnitude: (O, K), not negative.
        rows: R. Where it does not divide O, the last group has the O mod R rows that are left.

    Attributes:
        groups: int64 (ceil(O / R), R); indices from O on stand for rows that are not there.
        scores: float64 (ceil(O / R), K).
    """

    def __init__(self, magnitude: Tensor, rows: int) -> None:
        self.count = magnitude.shape[0]
        padding = -self.count % rows
        self.magnitude = F.pad(magnitude.float(), (0, 0, 0, padding))
        self.groups = torch.arange(self.count + padding).view(-1, rows)
        self.scores = self._score(self.groups)

    @property
    def order(self) -> Tensor:
        """int64 (O,): the rows, group by group."""
        rows = self.groups.flatten()
        return rows[rows < self.count]

    def objective(self, threshold: float) -> float:
        """f of the class's docstring."""
        return float((self.scores - threshold).clamp_(min=0).sum())

    def start_from_similar(self, threshold: float) -> None:
        """Regroups greedily: the row of most magnitude above its share of the threshold takes the
        rows most similar to it there. Kept only where the objective grows."""
        before, old = self.objective(threshold), self.groups
        self._regroup(self._similar_groups(threshold))
        if self.objective(threshold) <= before:
            self._regroup(old)

    def improve(self, threshold: float, max_rounds: int) -> int:
        """Swaps rows between groups while the objective grows; returns the number of swaps.

        A round ranks all swaps, takes the best ones that share no group, so that their gains add
        up, and carries out those whose exact gain is positive. It ends when a round finds none.
        """
        ranking = _Ranking(self, threshold)
        total = 0
        for _ in range(max_rounds):
            swaps = ranking.best_disjoint(self)
            if not len(swaps):
                break
            gains = self._gains(swaps, threshold) > self._least_gain()
            ranking.reject(self, swaps[~gains])
            self._swap(swaps[gains])
            ranking.update(self, swaps[gains][:, [0, 2]].flatten())
            total += int(gains.sum())
        return total

    def _score(self, groups: Tensor) -> Tensor:
        return self.magnitude[groups].double().sum(1)

    def _regroup(self, groups: Tensor) -> None:
        self.groups = groups
        self.scores = self._score(groups)

    def _gains(self, swaps: Tensor, threshold: float) -> Tensor:
        """What each of the swaps (group, slot, group, slot) alone adds to the objective, fp64."""
        g, i, h, j = swaps.T
        delta = (
            self.magnitude[self.groups[h, j]].double() - self.magnitude[self.groups[g, i]].double()
        )
        gains = torch.zeros(len(swaps), dtype=torch.float64)
        for group, sign in ((g, 1), (h, -1)):
            old = self.scores[group]
            new = (old + sign * delta - threshold).clamp_(min=0)
            gains += (new - (old - threshold).clamp_(min=0)).sum(1)
        return gains

    def _least_gain(self) -> float:
        """Far above fp64's rounding of a group's sum: no two swaps undo each other for ever."""
        return 1e-12 * float(self.scores.sum()) / len(self.scores)

    def _swap(self, swaps: Tensor) -> None:
        g, i, h, j = swaps.T
        self.groups = self.groups.clone()
        self.groups[g, i], self.groups[h, j] = self.groups[h, j], self.groups[g, i]
        touched = torch.cat([g, h])
        self.scores[touched] = self._score(self.groups[touched])

    def _similar_groups(self, threshold: float) -> Tensor:
        total, rows = self.groups.numel(), self.groups.shape[1]
        above = (self.magnitude - threshold / rows).clamp_(min=0)
        similarity = above @ above.T  # (O, O)
        free = torch.zeros(total)  # 0, or -inf for rows that are taken
        free[self.count :] = -torch.inf
        missing = torch.arange(self.count, total)
        weight = above.sum(1)
        groups = []
        for index in range(len(self.groups)):
            members: list[int] = []
            size = rows - (len(missing) if index == len(self.groups) - 1 else 0)
            likeness = weight
            for _ in range(size):
                row = int((likeness + free).argmax())
                free[row] = -torch.inf
                likeness = similarity[row] if not members else likeness + similarity[row]
                members.append(row)
            groups.append(torch.tensor(members + missing.tolist()[: rows - size]))
        return torch.stack(groups)


class _Ranking:
    """What every swap gains, nearly: it ranks candidates, whose gains are then computed exactly.

    With u_a = s_g - w_a, what the group of row a holds without it, and M_ab = sum over c of
    max(u_ac + w_bc - t, 0), swapping rows a and b gains M_ab + M_ba - M_aa - M_bb. All M together
    are O^2 K terms; linear interpolation in w between a few levels turns them into matrix products,
    and errs only where the kink falls between two levels, alike for all four.
    """

    def __init__(self, groups: RowGroups, threshold: float) -> None:
        self.threshold = threshold
        w = groups.magnitude
        sample = w.flatten()[:: max(1, w.numel() // _SAMPLE)]
        inner = torch.quantile(sample, torch.tensor(_LEVELS))
        self.levels = torch.cat([w.min()[None], inner, w.max()[None]]).unique()
        self.shares = [self._share(w, level) for level in range(len(self.levels))]
        self.held = torch.empty(len(w), len(w))  # M
        self.rejected = torch.zeros(len(w), len(w), dtype=torch.bool)
        self.update(groups, torch.arange(len(groups.groups)))

    def update(self, groups: RowGroups, touched: Tensor) -> None:
        """Recomputes M for the rows of the touched groups."""
        rows = groups.groups[touched]
        rest = groups.scores[touched].float()[:, None] - groups.magnitude[rows]
        rest = rest.flatten(0, 1)  # u: (touched * R, K)
        held = torch.zeros(len(rest), len(groups.magnitude))
        for level, share in zip(self.levels, self.shares, strict=True):
            held.addmm_((rest + (level - self.threshold)).clamp_(min=0), share)
        self.held[rows.flatten()] = held
        self.rejected[rows.flatten()] = False
        self.rejected[:, rows.flatten()] = False

    def reject(self, groups: RowGroups, swaps: Tensor) -> None:
        """Leaves these swaps out until one of their groups changes."""
        g, i, h, j = swaps.T
        a, b = groups.groups[g, i], groups.groups[h, j]
        self.rejected[a, b] = self.rejected[b, a] = True

    def best_disjoint(self, groups: RowGroups) -> Tensor:
        """int64 (n, 4): swaps (group, slot, group, slot) that seem to gain, no group twice."""
        count, rows = groups.groups.shape
        order = groups.groups.flatten()
        own = self.held.diagonal()
        gain = self.held + self.held.T - own[:, None] - own[None]
        gain[self.rejected] = -torch.inf
        gain[:, groups.count :] = -torch.inf  # of the last group, which is h in what follows
        # (g, h, R * R): the best swap of each pair of groups
        gain = gain[order][:, order].view(count, rows, count, rows)
        best = gain.transpose(1, 2).flatten(2).max(2)
        pair_gain = best.values
        g, h = torch.triu_indices(count, count, 1)
        g, h = g[pair_gain[g, h] > 0], h[pair_gain[g, h] > 0]
        ranked = pair_gain[g, h].argsort(descending=True, stable=True)
        used = [False] * count
        chosen = []
        for a, b in torch.stack([g, h], 1)[ranked].tolist():
            if not used[a] and not used[b]:
                used[a] = used[b] = True
                slot = int(best.indices[a, b])
                chosen.append((a, slot // rows, b, slot % rows))
        return torch.tensor(chosen, dtype=torch.int64).view(-1, 4)

    def _share(self, w: Tensor, level: int) -> Tensor:
        """(K, O): how much of each magnitude counts for the level, a hat function."""
        here = self.levels[level]
        share = (w == here).float()
        if level:
            below = self.levels[level - 1]
            share += torch.where((w > below) & (w < here), (w - below) / (here - below), 0.0)
        if level + 1 < len(self.levels):
            above = self.levels[level + 1]
            share += torch.where((w > here) & (w < above), (above - w) / (above - here), 0.0)
        return share.T
