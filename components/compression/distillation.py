"""Knowledge distillation: a smaller student learns from the model's soft labels."""

from typing import ClassVar, Literal

from pydantic import field_validator

from components.artifacts import TrainedModel
from components.compression import Bench, Compression
from components.recipe import Recipe


class Distillation(Compression):
    """The student is trained from scratch by the one loop, guided by the model it replaces."""

    source: ClassVar[str] = "Hinton et al., arXiv:1503.02531"
    works_on: ClassVar[Literal["model", "graph"]] = "model"

    student: Recipe

    @field_validator("student")
    @classmethod
    def _is_guided(cls, student: Recipe) -> Recipe:
        if student.guidance is None:
            raise ValueError(
                "the student has no guidance; add guidance: {alpha: 0.7, temperature: 3.0}"
            )
        return student

    def model(self, candidate: TrainedModel, bench: Bench) -> TrainedModel:
        """The trained student; the candidate's logits on the training rows are computed once."""
        return bench.train(self.student, start=None, teacher=candidate)
