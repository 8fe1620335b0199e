"""Commands of what is coming: notices to users, and test data of a coming format beside what they work with."""

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from infra import settings
from infra.cli import catalogue_care

if TYPE_CHECKING:
    from infra.delivery import notices

app = typer.Typer(
    no_args_is_help=True, help="Notices to users: changes of format, interruptions, and what else they should know."
)

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command("add")
def add(
    kind: str | None = typer.Option(None, "--kind", help="format-change, interruption or general."),
    subject: list[str] = typer.Option(
        [], "--subject", help="Product or collection it is about; may be repeated. None: it is about everything."
    ),
    effective: str | None = typer.Option(None, "--effective", help="From when it holds, ISO 8601; UTC where no zone."),
    title_zh: str | None = typer.Option(None, "--title-zh", help="Title in Chinese."),
    title_en: str | None = typer.Option(None, "--title-en", help="Title in English."),
    text_zh: str | None = typer.Option(None, "--text-zh", help="Text in Chinese."),
    text_en: str | None = typer.Option(None, "--text-en", help="Text in English."),
    old_format: str | None = typer.Option(None, "--from", help="Version of the format until then."),
    new_format: str | None = typer.Option(None, "--to", help="Version of the format from then on."),
    test_data: str | None = typer.Option(
        None, "--test-data", help="Where it can be tried: a collection of the test stream, or an address."
    ),
    urgent: str | None = typer.Option(
        None, "--urgent", help="Why a change of format is told less than 14 days ahead, or without test data."
    ),
    corrects: str | None = typer.Option(
        None, "--corrects", help="Notice this one corrects; what is not given stays as it was. Wants --reason."
    ),
    reason: str | None = typer.Option(None, "--reason", help="Why it is corrected; users read it."),
    as_json: bool = AS_JSON,
) -> None:
    """Publish a notice. It is never changed afterwards: correct it with --corrects, or cancel it.

    It appears at /notices and /notices.atom, goes out over MQTT (cq/notices/SECTOR/KIND) and webhooks to those whose
    sectors it concerns, and the STAC collections it is about link to it until it takes effect. A change of format is
    told at least 14 days ahead with test data to try, unless there is a reason.

    Example: terralimb catalogue publish flood-extent-500112 --stream test, then terralimb catalogue notice add
    --kind format-change --subject flood-extent --effective 2026-10-01 --from 1.0 --to 2.0 --test-data
    flood-extent-test --title-zh ... --title-en ... --text-zh ... --text-en ...

    Exit status 0: published. 1: it says too little or comes too late. 2: wrong usage.
    """
    from infra.delivery import notices
    from products import notice

    if kind is not None and kind not in notice.KINDS:
        raise typer.BadParameter(f"--kind is one of {', '.join(notice.KINDS)}")
    if (corrects is None) != (reason is None):
        raise typer.BadParameter("--corrects and --reason go together")
    draft = notices.Draft(
        kind=next((known for known in notice.KINDS if known == kind), None),
        subjects=tuple(subject) or None,
        effective_at=None if effective is None else _instant(effective),
        title_zh=title_zh,
        title_en=title_en,
        text_zh=text_zh,
        text_en=text_en,
        old_format=old_format,
        new_format=new_format,
        test_data=test_data,
        urgent_reason=urgent,
    )
    now = dt.datetime.now(dt.UTC)
    if corrects is not None and reason is not None:
        made = _notices().correct(corrects, draft, reason=reason, now=now)
    else:
        made = _notices().add(draft, now=now)
    _told(made, as_json=as_json)


@app.command("cancel")
def cancel(
    notice_id: str = typer.Argument(..., metavar="NOTICE", help="Identity, as `list` shows it."),
    reason: str = typer.Option(..., "--reason", help="Why; users read it."),
    as_json: bool = AS_JSON,
) -> None:
    """Cancel a notice: a cancellation follows it on every way the notice went; what was told stays readable."""
    made = _notices().cancel(notice_id, reason=reason, now=dt.datetime.now(dt.UTC))
    _told(made, as_json=as_json)


@app.command("list")
def listing(as_json: bool = AS_JSON) -> None:
    """Show every notice as it stands now, the latest to take effect first."""
    found = _notices().current()
    if as_json:
        _print({"notices": [_document(one) for one in found]})
        return
    table = Table(
        Column("notice", no_wrap=True), "kind", Column("effective (UTC)", no_wrap=True), "state", "about", "title",
        box=None,
    )  # fmt: skip
    for one in found:
        about = ", ".join(sorted(one.collections)) or "everything"
        when = f"{one.effective_at.astimezone(dt.UTC):%Y-%m-%d %H:%M}"
        table.add_row(one.id, one.kind, when, f"{one.change} r{one.revision}", about, f"{one.title_zh} {one.title_en}")
    Console(width=None if sys.stdout.isatty() else 140).print(table if found else "There is no notice yet.")


def publish(
    package: str = typer.Argument(..., help="Package as the ledger names it: profile, sector product or alert."),
    stream: str = typer.Option("operational", "--stream", help="operational, or test for data of a coming format."),
    as_json: bool = AS_JSON,
) -> None:
    """Publish one package of the ledger by hand, in the stream named.

    With --stream test it becomes the item PACKAGE-test of the collection COLLECTION-test: shown to whoever names that
    collection, in /feed?stream=test and under cq-test/ of the broker, and nowhere else. Name that collection as
    --test-data of a notice.

    Example: terralimb catalogue publish flood-extent-500112-20260701t033000z --stream test
    """
    from infra.stages import package_document
    from infra.stages import publish as publishing
    from products import streams

    wanted = next((known for known in streams.STREAMS if known == stream), None)
    if wanted is None:
        raise typer.BadParameter(f"--stream is one of {', '.join(streams.STREAMS)}")
    with catalogue_care.attached() as workspace:
        found = [one for one in workspace.ledger.granules(publishing.PACKAGES) if one.id == package]
        if not found:
            raise LookupError(f"the ledger holds no package {package!r:.120}")
        document = package_document.from_json(workspace.read(found[-1]))
        done = publishing.publish_document(document, workspace, wanted)
    collection = streams.identity(document.collection, wanted)
    if as_json:
        _print({"id": done.item_id, "collection": collection, "revision": done.revision, "new": done.created})
        return
    sys.stdout.write(f"{done.item_id} revision {done.revision} in {collection}\n")


def _instant(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r:.40} is no time in ISO 8601, such as 2026-10-01T00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _notices() -> "notices.Notices":
    from infra import catalog_store, database
    from infra.delivery import notices

    url = settings.current().resolved_database_url()
    database.upgrade(url)
    return notices.Notices(catalog_store.CatalogStore(database.engine(url)))


def _document(made: Any) -> dict[str, Any]:
    from infra.delivery import push
    from products import notice

    public_url = settings.current().public_url
    return notice.message(made, lambda *parts: push.address(public_url, *parts))


def _told(made: Any, *, as_json: bool) -> None:
    if as_json:
        _print(_document(made))
        return
    sys.stdout.write(f"{made.id} revision {made.revision}, {made.change}: {made.title_zh} {made.title_en}\n")


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
