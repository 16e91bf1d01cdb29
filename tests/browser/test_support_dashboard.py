"""The support dashboard in a real browser, through the launcher that `make run-app` starts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(290)]


@pytest.fixture(scope="module")
def run_app(shop_home: Path) -> Iterator[dict[str, Any]]:
    """`headwater run` on the sample shop, on ports that are free; ended by ctrl-C, after which nothing may be left."""
    environment = {**os.environ, "HEADWATER_HOME": str(shop_home), "PYTHONUNBUFFERED": "1"}
    log = shop_home / "run.log"
    with log.open("wb") as sink:
        command = [sys.executable, "-m", "headwater.cli.main", "run", "--app", "support"]
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
    started = time.monotonic()
    while b"Headwater is running" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() - started < 90, log.read_text()
        time.sleep(0.1)
    state = json.loads((shop_home / "run.json").read_text())
    yield {**state, "started_in": time.monotonic() - started, "process": process, "log": log}
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture(scope="module")
def shop(run_app: dict[str, Any], screen: Any) -> Any:
    return screen(run_app["dashboards"]["support"]["url"], "support")


def say(shop: Any, page: Any, question: str) -> None:
    before = page.get_by_text("Why this answer").count()
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")
    page.get_by_text("Why this answer").nth(before).wait_for()
    shop.settle(page)


def test_a_question_is_answered_with_a_source_that_opens_at_the_right_place(page: Any, shop: Any) -> None:
    shop.visit(page)
    shop.keep(page, "chat-empty")
    page.get_by_role("button", name="How long does a refund take?").click()
    page.get_by_text("Why this answer").first.wait_for()
    shop.settle(page)

    assert page.get_by_text("A refund takes 5 working days after your parcel reaches our warehouse.").count() >= 1
    link = page.locator('a[href*="/documents/refunds/view"]').first
    assert link.get_attribute("target") == "_blank"
    shop.keep(page, "chat-answer")
    with page.context.expect_page() as opening:
        link.click()
    source = opening.value
    source.wait_for_load_state()
    assert "A refund takes 5 working days" in source.locator("mark#cited").inner_text()
    assert source.locator("mark#cited").is_visible()
    shop.keep(source, "source")
    source.close()
    page.get_by_text("Why this answer").first.click()
    page.get_by_text("Passages found").wait_for()
    page.wait_for_timeout(1500)
    shop.keep(page, "chat-why")


def test_chinese_is_answered_and_the_unknown_declined(page: Any, shop: Any) -> None:
    shop.visit(page)
    say(shop, page, "退款多久能到账？")
    assert page.get_by_text("5个工作日").count() == 1  # an answer that is only quoted is not quoted once more
    assert page.locator('a[href*="/documents/zh-refunds/view"]').count() >= 1
    say(shop, page, "Who won the football yesterday?")
    assert page.get_by_text("I would rather not guess").count() == 1
    shop.keep(page, "chat-chinese-and-declined")


def test_markup_of_a_customer_is_shown_as_text(page: Any, shop: Any) -> None:
    shop.visit(page)
    say(shop, page, "**bold** <img src=x onerror=alert(1)> [x](javascript:alert(2)) $x^2$ :red[no]")
    shown = page.get_by_test_id("stChatMessage").first

    assert "**bold** <img src=x onerror=alert(1)>" in shown.inner_text()
    assert shown.locator("img, strong, a, .katex").count() == 0


def test_a_document_is_added_asked_and_deleted(page: Any, shop: Any, tmp_path: Path) -> None:
    path = tmp_path / "balloon.md"
    path.write_text("# Balloons\n\nOur hot-air balloon basket carries eleven passengers.\n")
    shop.visit(page, "documents")
    shop.keep(page, "documents")
    page.get_by_role("tab", name="Add").click()
    page.locator("input[type=file]").last.set_input_files(str(path))
    page.get_by_role("button", name="Add 1 file").click()
    page.get_by_text("was added").wait_for()
    shop.visit(page)
    say(shop, page, "How many passengers does the balloon basket carry?")
    assert page.get_by_text("eleven passengers").count() >= 1

    shop.visit(page, "documents")
    page.get_by_placeholder("title, id or address").fill("balloon")
    page.get_by_placeholder("title, id or address").press("Enter")
    page.get_by_text("1 documents").wait_for()
    shop.settle(page)
    table = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(table["x"] + 17, table["y"] + 52)
    page.get_by_role("button", name="Delete").wait_for()
    shop.settle(page)
    shop.keep(page, "document-selected")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("was deleted").wait_for()


def test_conversations_are_searched_and_read(page: Any, shop: Any) -> None:
    shop.visit(page)
    say(shop, page, "What is the hydrostatic head of the Tarn tents? I am kim@example.com")
    shop.visit(page, "conversations")
    page.get_by_placeholder("words in question or answer").fill("hydrostatic")
    page.get_by_placeholder("words in question or answer").press("Enter")
    shop.settle(page)
    table = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(table["x"] + 17, table["y"] + 52)
    page.get_by_test_id("stChatMessage").get_by_text("I am [EMAIL]").wait_for()
    shop.settle(page)
    shop.keep(page, "conversations")
    assert page.get_by_text("kim@example.com").count() == 0


def test_models_show_card_and_report(page: Any, shop: Any) -> None:
    shop.visit(page, "models")
    page.get_by_text("In production").first.wait_for()
    shop.keep(page, "models")
    page.get_by_role("tab", name="Report").click()
    page.get_by_text("Confusion matrix").wait_for()
    page.wait_for_timeout(1500)
    shop.keep(page, "models-report")
    assert page.get_by_text("There is no candidate to promote.").count() == 1


def test_own_examples_are_tuned_judged_and_refused_or_promoted(page: Any, shop: Any, tmp_path: Path) -> None:
    words = {
        "refund_method": "card account money",
        "rental": "hire rent deposit",
        "stock_availability": "left sold out",
    }
    lines = [
        f"{w} {extra} {n},{label}" for label, ws in words.items() for w in ws.split() for n, extra in enumerate("abcd")
    ]
    path = tmp_path / "mine.csv"
    path.write_text("question,queue\n" + "\n".join(lines) + "\nno label,\n")
    shop.visit(page, "tune")
    page.locator("input[type=file]").first.set_input_files(str(path))
    page.get_by_text("1 rows that cannot be used").wait_for()
    shop.settle(page)
    shop.keep(page, "tune-preview")
    page.get_by_label("Epochs").fill("1")
    page.get_by_role("button", name="Start tuning").click()
    page.get_by_text("What now?").wait_for(timeout=150_000)
    shop.settle(page)
    shop.keep(page, "tune-done")
    page.get_by_role("button", name="Promote").click()
    failed = page.get_by_test_id("stAlertContentError").filter(has_text="Failed")
    failed.wait_for(timeout=60_000)  # other labels, without consent
    shop.settle(page)
    assert page.get_by_text("the gate refuses support-intents-en@2").count() >= 1
    assert page.get_by_text("labels").count() >= 1
    shop.keep(page, "tune-refused")


def test_every_page_speaks_chinese(page: Any, shop: Any) -> None:
    for name, title in {
        "": "和机器人对话",
        "documents": "全部文档",
        "conversations": "会话记录",
        "models": "模型卡",
        "tune": "用您的样本微调",
    }.items():
        shop.visit(page, name, "?lang=zh")
        page.get_by_text(title).first.wait_for()
        shop.keep(page, f"zh-{name or 'chat'}")


def test_on_a_telephone_the_page_is_seen_and_not_the_sidebar(telephone: Any, shop: Any) -> None:
    for name in ("", "documents", "conversations", "models", "tune"):
        shop.visit(telephone, name)
        shop.keep(telephone, f"telephone-{name or 'chat'}")
        assert shop.fits(telephone), name


def test_a_crashed_dashboard_comes_back_and_ctrl_c_leaves_nothing(
    page: Any, shop: Any, run_app: dict[str, Any]
) -> None:
    shop.visit(page)
    child = psutil.Process(run_app["pids"]["support dashboard"])
    child.kill()
    deadline = time.monotonic() + 40
    while True:
        try:
            shop.visit(page)
            break
        except Exception:  # the browser's own errors while nothing listens
            assert time.monotonic() < deadline, run_app["log"].read_text()
            time.sleep(0.5)
    process = run_app["process"]
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait(20)

    assert time.monotonic() - began < 5
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
