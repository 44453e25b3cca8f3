"""How long a step takes, learnt from the clock, and what follows: how many prompt tokens may join a step, and
when an extra row pays.
"""

from __future__ import annotations

SMOOTHING = 0.2
FORGETTING = 0.95
FIXED_ROWS = 16.0  # until measured: what a step costs whatever it holds, in rows
FIRST_GUESS = 32  # prompt tokens beside running streams before anything was measured
PRIOR_WEIGHT = 4.0
DRAFT_STRETCH = 2.0
"""A step with drafts, in times of one without: who comes new waits for a step before its prompt joins."""


class _Line:
    """seconds = a + b * rows by least squares that forgets, drawn to a guessed slope while rows hardly vary."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def add(self, rows: float, seconds: float) -> None:
        for name, value in (
            ("_weight", 1.0),
            ("_x", rows),
            ("_y", seconds),
            ("_xx", rows * rows),
            ("_xy", rows * seconds),
        ):
            setattr(self, name, FORGETTING * getattr(self, name) + value)

    def slope(self, guess: float | None) -> float:
        """Seconds one more row takes; at most what an average row does."""
        if not self._x:
            return 0.0
        x, y = self._x / self._weight, self._y / self._weight
        prior = y / (x + FIXED_ROWS) if guess is None else guess
        spread = max(self._xx - self._weight * x * x, 0.0)
        together = self._xy - self._weight * x * y
        return min(max((together + PRIOR_WEIGHT * prior) / (spread + PRIOR_WEIGHT), 0.0), y / x)

    def at(self, rows: float, guess: float | None) -> float | None:
        if not self._weight:
            return None
        x, y = self._x / self._weight, self._y / self._weight
        return max(y + self.slope(guess) * (rows - x), y / 4)


class Pace:
    """Chunked prefill with a budget learnt from the clock (Sarathi-Serve, Agrawal et al. 2024, arXiv 2403.02310,
    uses a fixed one).

    Keeps a step that mixes in prompt tokens under `stretch` times one without. `step_tokens` bounds the prompt
    tokens of any step. Rows are decode tokens and drafts. Times in seconds.
    """

    def __init__(self, step_tokens: int, stretch: float = 2.5) -> None:
        self.step_tokens = step_tokens
        self.stretch = stretch
        self._decode = _Line()
        self._per_prompt_token: float | None = None

    def allowance(self, decoding: int, coming: int = 1, stretch: float | None = None) -> int:
        """Prompt tokens the next step may hold beside `decoding` sequences; at least 1. `stretch` in place of the usual.

        Where several prompts are `coming`, the measure is a step that has them too: that is the pace all will soon have, and
        creeping in at that of a few would keep the many waiting.
        """
        if decoding == 0:
            return self.step_tokens
        idle = self._decode.at(decoding + max(0, coming - 1), self._per_prompt_token)
        if not idle or not self._per_prompt_token:
            return min(self.step_tokens, FIRST_GUESS)
        spare = ((stretch or self.stretch) - 1) * idle
        return max(1, min(self.step_tokens, int(spare / self._per_prompt_token)))

    def draft_allowance(self, decoding: int, prompt: int) -> int:
        """Rows of drafts the next step may hold beside `decoding` sequences and `prompt` tokens. A sequence that is
        alone keeps nobody waiting but itself.
        """
        if decoding + (prompt > 0) <= 1:
            return self.step_tokens
        idle = self._decode.at(decoding, self._per_prompt_token)
        slope = self._decode.slope(self._per_prompt_token)
        if not idle or slope <= 0:
            return FIRST_GUESS
        spare = (DRAFT_STRETCH - 1) * idle - prompt * (self._per_prompt_token or slope)
        return max(0, min(self.step_tokens, int(spare / slope)))

    def break_even(self, decoding: int) -> float:
        """How likely a draft must be accepted so that its row costs no throughput: the share of its step's time
        that one row takes, times the tokens the step makes anyway.
        """
        idle = self._decode.at(decoding, self._per_prompt_token)
        if not idle:
            return decoding / (decoding + FIXED_ROWS)
        return decoding * self._decode.slope(self._per_prompt_token) / idle

    def observe(self, rows: int, prompt_tokens: int, seconds: float) -> None:
        """Learn from a finished step."""
        if prompt_tokens == 0:
            self._decode.add(rows, seconds)
            return
        base = self._decode.at(rows, self._per_prompt_token) if rows else 0.0
        if base is None:
            if self._per_prompt_token is not None:  # a first reading, until a step without a prompt comes
                self._decode.add(rows, max(seconds - self._per_prompt_token * prompt_tokens, seconds / 4))
            return
        cost = max(seconds - base, seconds / 8) / prompt_tokens
        if self._per_prompt_token is None:
            self._per_prompt_token = cost
        else:
            trust = SMOOTHING * min(1.0, prompt_tokens / 8)
            self._per_prompt_token += trust * (cost - self._per_prompt_token)
