"""What the demo shows: what a task is made from, the upload, the task followed live, the table of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.demo.sample import Sample
from api.demo.service_client import ServiceClient, ServiceError

APPLICATION, SIGNATURE, TEMPLATE = "Demo shop", "演示商店", "Opening"
TEXT = "Dear customer, our new store opens on Saturday at 10:00. You are welcome!"

_FIND = """query Find { applications(first: 100) { nodes {
  id name signatures { nodes { id selectable } } templates { nodes { id selectable } }
} } }"""
_CREATE_APPLICATION = """mutation CreateApplication($input: CreateApplicationInput!) {
  created: createApplication(input: $input) { object: application { id } errors { message } } }"""
_CREATE_SIGNATURE = """mutation CreateSignature($input: CreateSignatureInput!) {
  created: createSignature(input: $input) { object: signature { id } errors { message } } }"""
_CREATE_TEMPLATE = """mutation CreateTemplate($input: CreateTemplateInput!) {
  created: createTemplate(input: $input) { object: template { id } errors { message } } }"""
_REVIEW_SIGNATURE = """mutation ReviewSignature($input: ReviewSignatureInput!) {
  created: reviewSignature(input: $input) { object: signature { id } errors { message } } }"""
_REVIEW_TEMPLATE = """mutation ReviewTemplate($input: ReviewTemplateInput!) {
  created: reviewTemplate(input: $input) { object: template { id } errors { message } } }"""
_CREATE_TASK = """mutation CreateTask($input: CreateTaskInput!) {
  createTask(input: $input) {
    message
    task { id text segmentsPerMessage recipients { imported invalid duplicates } }
    errors { message }
  } }"""
_FOLLOW = """subscription Follow($id: ID!) { taskUpdated(id: $id) {
  status revision progress { handedOver percent messagesPerSecond }
  counts { total waiting unknown delivered failed notSent }
} }"""
_RESULT = "query Result($id: ID!) { task(id: $id) { failedNumbersUrl } }"


class Shortfall(Exception):  # noqa: N818 - it names what happened
    """The demo did not come out as it should. The text says what fell short."""


class Story:
    """Told through the API alone, as any client could."""

    def __init__(self, client: ServiceClient, console: Console, files: Path) -> None:
        self._client = client
        self._console = console
        self._files = files

    async def tell(self, recipients: Path, expected: Sample) -> None:
        """Show everything. Raises `Shortfall`."""
        try:
            made_from = await self._prepare()
            task = await self._create_task(made_from, recipients)
            counts = await self._follow(task["id"])
            failed_file = await self._download_failed(task["id"])
        except ServiceError as error:
            raise Shortfall(f"the API answered: {error}") from error
        self._print_results(task["recipients"], counts)
        self._console.print(f"Failed numbers  {failed_file}", soft_wrap=True)
        _compare(task["recipients"], counts, expected)

    async def _prepare(self) -> dict[str, str]:
        """Find or make the application, signature and template; their ids, as createTask takes them."""
        found = (await self._client.execute(_FIND))["applications"]["nodes"]
        for application in found:
            signatures, templates = (
                [node["id"] for node in application[kind]["nodes"] if node["selectable"]]
                for kind in ("signatures", "templates")
            )
            if application["name"] == APPLICATION and signatures and templates:
                return {
                    "applicationId": application["id"],
                    "signatureId": signatures[0],
                    "templateId": templates[0],
                }
        application_id = await self._make(_CREATE_APPLICATION, name=APPLICATION, region="CHINESE_MAINLAND")
        signature_id = await self._make(
            _CREATE_SIGNATURE,
            applicationId=application_id,
            name=SIGNATURE,
            type="NOTIFICATION",
            channelNumber="10690001",
        )
        template_id = await self._make(
            _CREATE_TEMPLATE,
            applicationId=application_id,
            signatureId=signature_id,
            name=TEMPLATE,
            type="NOTIFICATION",
            content=TEXT,
        )
        await self._make(_REVIEW_SIGNATURE, id=signature_id, approve=True)
        await self._make(_REVIEW_TEMPLATE, id=template_id, approve=True)
        return {"applicationId": application_id, "signatureId": signature_id, "templateId": template_id}

    async def _make(self, document: str, **fields: object) -> str:
        payload = (await self._client.execute(document, input=fields))["created"]
        _refuse_errors(payload)
        made: str = payload["object"]["id"]
        return made

    async def _create_task(self, made_from: dict[str, str], recipients: Path) -> dict[str, Any]:
        order = {"name": "Store opening", **made_from, "recipients": {"file": None}}
        payload = (
            await self._client.upload(_CREATE_TASK, recipients, at="input.recipients.file", input=order)
        )["createTask"]
        _refuse_errors(payload)
        task: dict[str, Any] = payload["task"]
        self._console.print(f"\n{recipients.name}: {payload['message']}", soft_wrap=True)
        self._console.print(f"Text: {task['text']} ({task['segmentsPerMessage']} segments)\n")
        return task

    async def _follow(self, task_id: str) -> dict[str, int]:
        task: dict[str, Any] = {}
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task("SCHEDULED", total=None)
            async for event in self._client.subscribe(_FOLLOW, id=task_id):
                task = event["taskUpdated"]
                counts = task["counts"]
                final = counts["delivered"] + counts["failed"] + counts["notSent"]
                progress.update(bar, description=task["status"], total=counts["total"], completed=final)
        if task.get("status") != "COMPLETED":
            raise Shortfall(f"the updates ended with the task {task.get('status')}")
        result: dict[str, int] = task["counts"]
        return result

    async def _download_failed(self, task_id: str) -> Path:
        url = (await self._client.execute(_RESULT, id=task_id))["task"]["failedNumbersUrl"]
        if url is None:
            raise Shortfall("there is no file of the failed numbers")
        target = self._files / "failed-numbers.xlsx"
        await self._client.download(url, target)
        return target

    def _print_results(self, recipients: dict[str, int], counts: dict[str, int]) -> None:
        table = Table("imported", "invalid", "duplicates", "delivered", "failed", "unknown", title="Result")
        table.add_row(
            *(str(recipients[name]) for name in ("imported", "invalid", "duplicates")),
            *(str(counts[name]) for name in ("delivered", "failed", "unknown")),
        )
        self._console.print(table)


def _refuse_errors(payload: dict[str, Any]) -> None:
    if payload["errors"]:
        raise ServiceError("; ".join(error["message"] for error in payload["errors"]))


def _compare(recipients: dict[str, int], counts: dict[str, int], expected: Sample) -> None:
    wanted = {
        "imported": expected.imported,
        "invalid": expected.invalid,
        "duplicates": expected.duplicates,
        "failed": expected.failing,
        "delivered": expected.imported - expected.failing,
        "unknown": 0,
    }
    found = {**counts, **recipients}
    wrong = [
        f"{found[name]} {name} in place of {number}"
        for name, number in wanted.items()
        if found[name] != number
    ]
    if wrong:
        raise Shortfall(", ".join(wrong))
