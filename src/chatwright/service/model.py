"""A model that is served: everything the walk needs of it, handed in ready."""

from __future__ import annotations

from dataclasses import dataclass

from chatwright.core.engine import Engine
from chatwright.grammar.compiler import GrammarCompiler
from chatwright.parsing.format import Format
from chatwright.rendering.renderer import Renderer
from chatwright.service.catalog_view import ModelCard
from chatwright.tokenization.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`format` is how its family writes tool calls and thinking, None where it has no way of its own.

    `temperature` is what the model ships as its default, None where it ships none (contract, Q2).
    `grammars` judges what an answer must obey; None where nobody asks, as in the parent of API processes.
    """

    card: ModelCard
    engine: Engine
    tokenizer: Tokenizer
    renderer: Renderer
    format: Format | None
    context_length: int
    eos_token_ids: tuple[int, ...]
    temperature: float | None = None
    grammars: GrammarCompiler | None = None
