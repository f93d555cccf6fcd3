"""A property whose reward model somebody else serves."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from allgood.scorers.hub_names import at_revision
from allgood.scorers.spec import Dialect, HttpSpec, Server, Templating
from pipelines.config.base import StrictModel
from pipelines.config.property_base import PropertyBase, refuse_mismatch, refuse_without_features
from pipelines.config.references import QuantileReference, Reference
from pipelines.config.transforms import LogSigmoidTransform, Transform


class ServerConfig(StrictModel):
    """Where a served reward model answers, and how it is asked. Nothing here decides the rewards or is in the hash."""

    url: str = Field(pattern=r"^https?://[^@]+$", description="the whole address, such as http://host:8000/classify")
    token_env: str | None = Field(
        None,
        pattern=r"^\w+$",
        description="environment variable that holds a bearer token, set where the driver and the scoring actor run",
    )
    deadline_s: float = Field(
        Server.deadline_s, gt=0, description="seconds for a request with all its retries; then its rewards are NaN"
    )
    batch_size: int = Field(Server.batch_size, ge=1, description="most responses in a request")
    connections: int = Field(Server.connections, ge=1, description="requests under way at a time")


class HttpProperty(PropertyBase):
    """A reward model that somebody serves: vLLM, SGLang, OpenRLHF's remote reward model, or our own service."""

    kind: Literal["http"] = "http"
    model: str = Field(min_length=1, description="its name at the server; of our own service, the objective's")
    revision: str | None = Field(
        None, description="what its owner calls this version; with the name it stands for weights that nobody can hash"
    )
    dialect: Dialect = Field(description="what the server speaks")
    template: Templating = Field(
        HttpSpec.template,
        description="who writes conversations as the model's text: the server (from messages), `here` with "
        "`tokenizer`, or none (plain hh text)",
    )
    tokenizer: str | None = Field(None, description="name or folder, for template `here`")
    served_property: str | None = Field(
        None, description="of a server that speaks allgood: the property whose raw reward is taken"
    )
    server: ServerConfig
    reference: Reference = QuantileReference()
    transform: Transform = LogSigmoidTransform()

    @model_validator(mode="after")
    def _transform_fits_reference(self) -> HttpProperty:
        refuse_mismatch(self.transform, self.reference)
        refuse_without_features(self.reference, "a served model shows none")
        return self

    @model_validator(mode="after")
    def _parts_fit_together(self) -> HttpProperty:
        self.spec(self.tokenizer)
        return self

    @property
    def source(self) -> str:
        """The model as its server knows it, with its revision."""
        return at_revision(self.model, self.revision)

    @property
    def served_key(self) -> str:
        """What its rewards are known by: name, revision, and how they are asked for."""
        asked = (self.dialect, self.template, *filter(None, (self.tokenizer, self.served_property)))
        return f"http:{self.source}:{':'.join(asked)}"

    def spec(self, tokenizer: str | None) -> HttpSpec:
        """What asks the server; `tokenizer` is where the one of this name lies."""
        return HttpSpec(
            self.model,
            Server(**self.server.model_dump()),
            self.dialect,
            template=self.template,
            revision=self.revision,
            tokenizer=tokenizer,
            served_property=self.served_property,
        )
