"""What `approve` and `reject` share: a decision in the name of a user who may take it."""

from argparse import ArgumentParser
from typing import Any, ClassVar

from runtime import approvals
from runtime.exceptions import InputInvalid
from runtime.management.base import JSON_HELP, AetherisCommand, add_job, named_job, named_user, value_of


class DecidingCommand(AetherisCommand):
    approve: ClassVar[bool]

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_job(parser)
        parser.add_argument(
            "step", metavar="STEP", nargs="?", help="which approval, where the job waits for several"
        )
        parser.add_argument("--user", required=True, help="who decides: a user who may")
        parser.add_argument(
            "--answer", default="{}", help=f"what the approval's schema asks for, {JSON_HELP}"
        )
        parser.add_argument("--comment", default="", help="a word for those who read the trace")

    def answer(
        self, *, job: str, step: str | None, user: str, answer: str, comment: str, **options: Any
    ) -> dict[str, Any]:
        found = named_job(job)
        given = value_of(answer, "answer")
        if not isinstance(given, dict):
            raise InputInvalid("answer", 'must be an object, such as {"amount": 5}')
        wait = approvals.decide(
            found, step, approve=self.approve, user=named_user(user), answer=given, comment=comment
        )
        found.refresh_from_db()
        return {
            "job": str(found.pk), "step": wait.step_key, "by": user,
            "decision": "approved" if self.approve else "rejected", "status": str(found.status),
        }  # fmt: skip

    def text(self, answer: dict[str, Any]) -> str:
        told = f"{answer['by']} {answer['decision']} {answer['step']} of job {answer['job']}"
        return f"{told}, which is {answer['status']} now."
