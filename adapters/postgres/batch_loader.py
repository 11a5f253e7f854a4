"""Questions that many ask at once become one query: whoever asks while one is under way joins the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Generic, TypeVar

from psycopg import Error, OperationalError
from psycopg.pq.abc import PGresult

from adapters.postgres.prepared import PreparedStatement
from adapters.postgres.retrying import PAUSE_SECONDS
from domain.kernel import Unavailable

K = TypeVar("K")
V = TypeVar("V")

#: Questions in one query; more would make the first of them wait for the last.
QUESTIONS_MAX = 100
#: Queries at once, so that one that takes long does not hold up all others.
CONNECTIONS = 2


class BatchLoader(Generic[K, V]):
    """Answers single questions of one kind with few queries.

    `encode` turns questions into the statement's parameters, `decode` its result into their answers in the same order.
    Where no question takes long, one of the `connections` is enough, and each of fewer queries answers more of them.
    A broken connection is asked again within the retry window; then `refusal` is raised. Whoever is not answered within
    `patience_seconds` hears TimeoutError.
    """

    def __init__(
        self,
        postgres_url: str,
        statement: str,
        types: Sequence[int],
        encode: Callable[[Sequence[K]], Sequence[bytes]],
        decode: Callable[[PGresult, Sequence[K]], Sequence[V]],
        *,
        retry_seconds: float,
        refusal: type[Unavailable],
        connections: int = CONNECTIONS,
        patience_seconds: float | None = None,
    ) -> None:
        self._encode = encode
        self._decode = decode
        self._retry_seconds = retry_seconds
        self._refusal = refusal
        self._patience_seconds = patience_seconds
        self._questions: list[tuple[K, asyncio.Future[V]]] = []
        self._waiting: deque[tuple[float, asyncio.Future[V]]] = deque()
        self._end: asyncio.TimerHandle | None = None
        self._statements = [PreparedStatement(postgres_url, statement, types) for _ in range(connections)]
        self._idle = list(self._statements)
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, question: K) -> V:
        """The answer to one question."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[V] = loop.create_future()
        self._questions.append((question, answer))
        if self._idle:
            task = asyncio.create_task(self._answer_all(self._idle.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._patience_seconds is not None:
            self._await_patiently(answer, self._patience_seconds)
        return await answer

    async def close(self) -> None:
        """Let go of the connections, once the questions under way are answered."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._end is not None:
            self._end.cancel()
        for prepared in self._statements:
            await prepared.close()

    def _await_patiently(self, answer: asyncio.Future[V], seconds: float) -> None:
        """Let an answer be missed in so many seconds, with one timer for all: one for each costs as much as it."""
        waiting, loop = self._waiting, asyncio.get_running_loop()
        end = loop.time() + seconds
        while waiting and waiting[0][1].done():
            waiting.popleft()
        waiting.append((end, answer))
        if self._end is None:
            self._end = loop.call_at(end, self._miss)

    def _miss(self) -> None:
        """Fail those that have waited too long, who are the first."""
        waiting, loop = self._waiting, asyncio.get_running_loop()
        while waiting and (waiting[0][1].done() or waiting[0][0] <= loop.time()):
            _, answer = waiting.popleft()
            if not answer.done():
                answer.set_exception(TimeoutError("no answer"))
        self._end = loop.call_at(waiting[0][0], self._miss) if waiting else None

    async def _answer_all(self, prepared: PreparedStatement) -> None:
        try:
            while self._questions:
                asked, self._questions = self._questions[:QUESTIONS_MAX], self._questions[QUESTIONS_MAX:]
                await self._answer(prepared, asked)
        finally:
            self._idle.append(prepared)

    async def _answer(self, prepared: PreparedStatement, asked: Sequence[tuple[K, asyncio.Future[V]]]) -> None:
        try:
            answers = await self._insist(prepared, [question for question, _ in asked])
        except asyncio.CancelledError:
            _fail(asked, self._refusal())
            raise
        except Error as problem:
            if len(asked) == 1:
                _fail(asked, problem)
                return
            # One question is no good; the others shall not suffer for it.
            for each in asked:
                await self._answer(prepared, [each])
        except Exception as problem:  # noqa: BLE001 - whoever asked hears of it
            _fail(asked, problem)
        else:
            for (_, future), answer in zip(asked, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    async def _insist(self, prepared: PreparedStatement, questions: Sequence[K]) -> Sequence[V]:
        deadline = monotonic() + self._retry_seconds
        while True:
            try:
                return self._decode(await prepared.run(self._encode(questions)), questions)
            except (OperationalError, OSError) as problem:
                if monotonic() > deadline:
                    raise self._refusal from problem
                await asyncio.sleep(PAUSE_SECONDS)


def _fail(asked: Sequence[tuple[Any, asyncio.Future[Any]]], problem: Exception) -> None:
    for _, future in asked:
        if not future.done():
            future.set_exception(problem)
