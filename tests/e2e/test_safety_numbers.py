"""Two people compare safety numbers, see what was read, and take a proof away."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserType, Page, expect

from tests.e2e.own_browser import CHROMIUM_ARGUMENTS
from tests.e2e.person import Person
from tests.live_server import LiveServer

pytestmark = pytest.mark.e2e

NewPerson = Callable[..., Person]
_DARK_RUN = re.compile(r"M(\d+) (\d+)h(\d+)v1")


def safety_number(person: Person) -> str:
    digits = person.drawer.get_by_role("list", name="Safety number").get_by_role("listitem")
    expect(digits).to_have_count(12)
    return " ".join(digits.all_inner_texts())


def test_both_see_the_same_number_and_a_match_is_kept_everywhere(
    talking: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, bob = talking
    expect(alice.lock).to_contain_text("Encrypted")
    expect(alice.lock).not_to_contain_text("verified")
    expect(alice.page.get_by_text("Say hello. Compare safety numbers when you meet.")).to_be_visible()
    alice.open_drawer()
    bob.open_drawer()

    assert re.fullmatch(r"(\d{5} ){11}\d{5}", safety_number(alice))
    assert safety_number(alice) == safety_number(bob)
    alice.press("They match")

    expect(alice.drawer.get_by_text("Verified", exact=True)).to_be_visible()
    expect(alice.lock).to_contain_text("Encrypted · verified")
    expect(alice.page.get_by_role("link", name=bob.name)).to_contain_text("Verified")
    expect(bob.lock).not_to_contain_text("verified")
    alice.page.reload()
    expect(alice.lock).to_contain_text("Encrypted · verified")
    second = new_person(alice.name)
    second.log_in()
    second.open_chat(bob)
    expect(second.lock).to_contain_text("Encrypted · verified")


def test_who_is_verified_can_be_unverified_again(talking: tuple[Person, Person]) -> None:
    alice, _ = talking
    alice.verify()

    alice.press("Not verified any more")

    expect(alice.lock).not_to_contain_text("verified")
    expect(alice.drawer.get_by_role("button", name="They match", exact=True)).to_be_visible()


def test_numbers_that_differ_stop_sending_until_that_is_cleared(talking: tuple[Person, Person]) -> None:
    alice, bob = talking
    alice.open_drawer()

    alice.press("They do not match")

    expect(alice.lock).to_contain_text("Numbers differ")
    expect(alice.composer(bob)).to_have_count(0)
    expect(alice.drawer.get_by_text("The safety numbers do not match")).to_be_visible()
    alice.page.reload()
    expect(alice.page.get_by_text("so nothing is sent to")).to_be_visible()
    alice.open_drawer()
    alice.press("Send without comparing")
    alice.send(bob, "It was the wrong phone")
    bob.expect_message(alice, "It was the wrong phone")


def test_the_drawer_closes_on_escape_and_gives_the_focus_back(talking: tuple[Person, Person]) -> None:
    alice, bob = talking
    for width in (1280, 800, 320):
        alice.page.set_viewport_size({"width": width, "height": 700})
        alice.open_drawer()

        alice.page.keyboard.press("Escape")

        expect(alice.drawer).to_have_count(0)
        expect(alice.lock).to_be_focused()
    expect(alice.composer(bob)).to_be_visible()


def test_what_lies_under_the_drawer_cannot_be_reached(talking: tuple[Person, Person]) -> None:
    alice, _ = talking
    alice.page.set_viewport_size({"width": 320, "height": 700})
    alice.open_drawer()

    reached = [focused_region(alice.page) for _ in range(30)]

    assert "room" not in reached


def focused_region(page: Page) -> str:
    page.keyboard.press("Tab")
    return str(
        page.evaluate(
            "document.activeElement.closest('.chat-room, .chat-sidebar') === null ? 'elsewhere' : 'room'"
        )
    )


@pytest.fixture
def camera(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any], tmp_path: Path
) -> Iterator[tuple[Browser, Path]]:
    """A browser whose camera films what is in a file."""
    film = tmp_path / "camera.y4m"
    write_film(film, [])
    arguments = [
        *CHROMIUM_ARGUMENTS,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    browser = browser_type.launch(**{**browser_type_launch_args, "args": arguments})
    yield browser, film
    browser.close()


def write_film(path: Path, dark: list[tuple[int, int, int]], modules: int = 45) -> None:
    """One still picture, 640 by 480: ``dark`` holds runs of dark modules as (x, y, length)."""
    width, height, scale = 640, 480, 9
    luma = bytearray(b"\xeb" * (width * height))
    left, top = (width - modules * scale) // 2, (height - modules * scale) // 2
    for x, y, length in dark:
        for row in range(top + y * scale, top + (y + 1) * scale):
            start = row * width + left + x * scale
            luma[start : start + length * scale] = b"\x10" * (length * scale)
    frame = b"FRAME\n" + luma + b"\x80" * (width * height // 2)
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode() + frame * 10)


def film_code_of(person: Person, film: Path) -> None:
    picture = person.drawer.get_by_role("img", name="Code of your safety number")
    expect(picture).to_be_visible()
    modules = int(picture.get_attribute("viewBox").split()[2])
    runs = _DARK_RUN.findall(picture.locator("path").get_attribute("d"))
    write_film(film, [(int(x), int(y), int(length)) for x, y, length in runs], modules)


def test_the_code_of_the_friend_is_scanned_with_the_camera(
    talking: tuple[Person, Person], camera: tuple[Browser, Path], server: LiveServer
) -> None:
    alice, bob = talking
    browser, film = camera
    filming = Person.in_new_context(browser, server.origin, name=alice.name, password=alice.password)
    filming.context.grant_permissions(["camera"], origin=server.origin)
    filming.log_in()
    filming.open_chat(bob)
    filming.open_drawer()
    bob.open_drawer()
    film_code_of(bob, film)

    filming.drawer.get_by_role("button", name=re.compile("Scan")).click()

    expect(filming.lock).to_contain_text("Encrypted · verified")
    assert filming.problems == []


def test_a_code_that_does_not_fit_verifies_nobody(
    talking: tuple[Person, Person], camera: tuple[Browser, Path], server: LiveServer
) -> None:
    alice, bob = talking
    browser, film = camera
    filming = Person.in_new_context(browser, server.origin, name=alice.name, password=alice.password)
    filming.context.grant_permissions(["camera"], origin=server.origin)
    filming.log_in()
    filming.open_chat(bob)
    filming.open_drawer()
    alice.open_drawer()
    film_code_of(alice, film)

    filming.drawer.get_by_role("button", name=re.compile("Scan")).click()

    expect(filming.drawer.get_by_text("This code does not fit.")).to_be_visible()
    expect(filming.lock).not_to_contain_text("verified")


def test_what_was_read_is_shown_only_while_both_show_it(talking: tuple[Person, Person]) -> None:
    alice, bob = talking
    bob.page.bring_to_front()
    alice.send(bob, "Did you see this?")
    bob.expect_message(alice, "Did you see this?")
    expect(alice.message(bob, "Did you see this?")).to_contain_text("Read")

    bob.open_drawer()
    bob.drawer.get_by_label("Show friends when I have read their messages").uncheck()
    alice.send(bob, "And this?")
    bob.expect_message(alice, "And this?")

    expect(alice.message(bob, "And this?")).to_contain_text("Delivered")


def test_a_complete_history_is_said_in_words_and_proved_in_a_file(
    talking: tuple[Person, Person], server: LiveServer, tmp_path: Path
) -> None:
    alice, bob = talking
    alice.send(bob, "One")
    bob.expect_message(alice, "One")
    bob.send(alice, "Two")
    alice.expect_message(bob, "Two")
    alice.open_drawer()
    expect(alice.drawer.get_by_text("History complete: 2 of 2 checked.")).to_be_visible()
    expect(alice.drawer.get_by_text(f"{bob.name}'s browser confirmed all of them.")).to_be_visible()

    with alice.page.expect_download() as download:
        alice.press("Export proof")

    assert re.fullmatch(
        rf"securechat-proof-{bob.name.lower()}-\d{{4}}-\d\d-\d\d\.json", download.value.suggested_filename
    )
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    proof = json.loads(file.read_text())
    assert proof["format"] == "securechat-proof/1"
    assert len(proof["hashes"]) == 2
    assert alice.name.lower() in server.manage("verify_proof", str(file))


def test_a_new_browser_is_announced_in_the_others(
    talking: tuple[Person, Person], new_person: NewPerson
) -> None:
    alice, bob = talking
    second = new_person(alice.name)

    second.log_in()

    notice = alice.page.get_by_text(re.compile("A new browser signed in to your account at"))
    expect(notice).to_be_visible()
    second.open_chat(bob)
    expect(second.page.get_by_text("A new browser signed in")).to_have_count(0)
    alice.page.get_by_role("button", name="It was me").click()
    expect(notice).to_have_count(0)
    alice.page.reload()
    expect(alice.composer(bob)).to_be_visible()
    expect(notice).to_have_count(0)


def test_text_that_turns_or_stretches_the_page_stays_in_its_place(talking: tuple[Person, Person]) -> None:
    alice, bob = talking
    hostile = [
        "A" * 10_000,
        "safe \u202egnp.exe",
        "https://safe.example/\u202egnp.exe",
        "Z" + "\u0301\u0351\u0352" * 400 + "algo",
        "\u200b\u200d" * 1_000 + "hidden",
    ]
    for text in hostile:
        alice.send(bob, text)
    bob.expect_message(alice, "safe \u202egnp.exe")

    for width in (320, 1280):
        for person in (alice, bob):
            person.page.set_viewport_size({"width": width, "height": 700})
            assert person.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert person.page.evaluate(
                """[...document.querySelectorAll('.message-row')].every((row) => {
                  const box = row.getBoundingClientRect(), log = row.closest('.log').getBoundingClientRect()
                  return box.left >= log.left && box.right <= log.right
                })"""
            )
    link = bob.log(alice).get_by_role("link")
    expect(link).to_have_attribute("href", "https://safe.example/")
    assert link.evaluate("(element) => getComputedStyle(element).unicodeBidi") == "isolate"
