"""A call of `AllGoodScorer` before anything is scored: what is asked, and against which references."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from allgood.scorers.read_rows import ReadRows
from allgood.scorers.reference_files import References
from allgood.scorers.rewards_spec import ReferenceFrom


@dataclass(frozen=True)
class Asked:
    """A call before anything is scored.

    Attributes:
        rows: What was asked, row by row.
        references: Per property those of the distinct prompts, by id.
        reference_from: Per property and prompt id, where they came from.
        share_in_table: Share of the distinct prompts that every table knows; None where no property has a table.
    """

    rows: ReadRows
    references: Mapping[str, References]
    reference_from: Mapping[str, Mapping[str, ReferenceFrom]]
    share_in_table: float | None

    def without_reference(self, name: str) -> dict[str, str]:
        """The prompts (text by id) of which a property knows nothing, or just its fallback."""
        found_by = self.reference_from[name]
        return {key: text for key, text in self.rows.prompts.items() if found_by[key] in ("fallback", "nowhere")}

    def with_samples(self, name: str, found: References) -> Asked:
        """With a property's references from fresh samples, in place of its fallback or of none."""
        known = self.references[name]
        references = References({**known.values, **found.values}, {**known.draws, **found.draws})
        found_by: Mapping[str, ReferenceFrom] = dict.fromkeys(found.values, "samples")
        return replace(
            self,
            references={**self.references, name: references},
            reference_from={**self.reference_from, name: {**self.reference_from[name], **found_by}},
        )
