"""What operators ask over HTTP: `code`, `message` and `faults`, and a credential that no workspace has to do with.

It is no part of the contracts: `docs/operators.md` describes it, and the reference does not show it.
"""

from __future__ import annotations

from api.surfaces import Problem, Surface


def refusal(problem: Problem) -> dict[str, object]:
    """The body of every error."""
    return {
        "code": problem.code,
        "message": problem.sentence,
        "faults": [{"at": ".".join(map(str, each.loc)), "message": each.message} for each in problem.faults],
    }


OPERATORS = Surface(
    title="Operators",
    prefixes=("/admin", "/metrics"),
    problem=refusal,
    moment=None,
    shapes={
        "default": {
            "title": "OperatorProblem",
            "type": "object",
            "required": ["code", "message", "faults"],
            "properties": {
                "code": {"type": "string", "description": "What machines call it."},
                "message": {"type": "string", "description": "What is so, and what to do."},
                "faults": {"type": "array", "description": "What is wrong with the request, and where."},
            },
        }
    },
    security={"Operator": {"type": "http", "scheme": "bearer"}},
)
