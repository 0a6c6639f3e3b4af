"""A person in front of a browser of their own: finds things by what they read on the screen."""

from __future__ import annotations

import base64
import hmac
import re
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.live_server import LiveServer

# Argon2 at 64 MiB in WebAssembly takes seconds on a busy small machine.
STRETCH_TIMEOUT_MS = 60_000
# A socket or request that ends because a test cut the network, or a refused form, is not a fault of the page.
_EXPECTED_ON_CONSOLE = re.compile(r"Failed to load resource|WebSocket connection to|ERR_")

# Writes into the composer and presses Enter as fast as the page takes it; the page's own code does the rest.
SEND_MANY = """async ([label, prefix, count]) => {
  const composer = [...document.querySelectorAll('textarea')].find((one) => one.labels[0]?.textContent.includes(label))
  const value = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value')
  for (let number = 0; number < count; number += 1) {
    value.set.call(composer, `${prefix} ${number}`)
    composer.dispatchEvent(new InputEvent('input', { bubbles: true }))
    composer.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }))
    while (composer.value !== '') await new Promise((resolve) => setTimeout(resolve, 2))
  }
}"""


def totp_code(secret: str) -> str:
    """What an authenticator app shows now: RFC 6238 with its defaults."""
    key = base64.b32decode(secret.replace(" ", ""))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), "sha1")
    start = digest[-1] & 15
    return f"{(struct.unpack_from('>I', digest, start)[0] & 0x7FFFFFFF) % 1_000_000:06}"


@dataclass
class Person:
    """Somebody signed up or about to; ``problems`` collects what a page logs as an error or throws."""

    context: BrowserContext
    page: Page
    origin: str
    name: str
    password: str
    recovery_code: str = ""
    problems: list[str] = field(default_factory=list)

    @classmethod
    def in_new_context(
        cls, browser: Browser, origin: str, *, name: str, password: str, **context_options: Any
    ) -> Person:
        context = browser.new_context(ignore_https_errors=True, base_url=origin, **context_options)
        context.set_default_timeout(20_000)
        person = cls(context=context, page=context.new_page(), origin=origin, name=name, password=password)
        person._watch(person.page)
        return person

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"{self.name}: {error} at {page.url}"))
        page.on("console", self._on_console)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _EXPECTED_ON_CONSOLE.search(message.text):
            self.problems.append(f"{self.name}: {message.text}")

    def new_tab(self) -> Page:
        page = self.context.new_page()
        self._watch(page)
        return page

    def sign_up(self) -> None:
        """Through every step, with the recovery code typed back; ends on the page for adding a friend."""
        page = self.page
        page.goto("/sign-up/")
        page.get_by_label("Username").fill(self.name)
        page.get_by_label("Password", exact=True).fill(self.password)
        page.get_by_role("button", name="Sign up").click()
        self.keep_recovery_code()
        page.get_by_role("link", name="Add your first friend").click()
        expect(page.get_by_role("heading", name="Add friend")).to_be_visible()

    def keep_recovery_code(self) -> None:
        """From the step that shows a new code to the step that says it was checked."""
        page = self.page
        heading = page.get_by_role("heading", name="Your recovery code")
        expect(heading).to_be_visible(timeout=STRETCH_TIMEOUT_MS)
        groups = page.locator("#recovery-code-groups li").all_inner_texts()
        self.recovery_code = "-".join(group.strip() for group in groups)
        page.get_by_role("button", name="I have kept it").click()
        number = int(page.locator("#type-back-number").inner_text())
        page.locator("#type-back").fill(groups[number - 1].strip().lower())
        page.get_by_role("button", name="Confirm the code").click()
        expect(page.locator("#recovery-done-step")).to_be_visible()

    def log_in(self, *, expect_url: str | None = None) -> None:
        self.fill_log_in()
        expect(self.page).to_have_url(expect_url or f"{self.origin}/", timeout=STRETCH_TIMEOUT_MS)

    def fill_log_in(self) -> None:
        page = self.page
        if "/log-in/" not in page.url:
            page.goto("/log-in/")
        page.get_by_label("Username", exact=True).fill(self.name)
        page.get_by_label("Password", exact=True).fill(self.password)
        page.locator("#account-form button[type=submit]").click()

    def log_out(self) -> None:
        self.page.goto("/log-out/")
        self.page.get_by_role("main").get_by_role("button", name="Log out").click()
        self.page.wait_for_url(lambda url: "log-out" not in url)

    def enrol_second_factor(self) -> list[str]:
        """Of an operator, on the admin's page for it. Gives back the backup codes; ends on the admin's front page."""
        page = self.page
        page.goto("/admin/")
        secret = page.locator("code.secret").inner_text()
        page.get_by_label("Code", exact=True).fill(totp_code(secret))
        page.get_by_role("button", name="Set up").click()
        codes = page.locator(".backup-codes code").all_inner_texts()
        page.get_by_role("link", name="I have kept them: go on").click()
        expect(page.get_by_role("heading", name="Keep order")).to_be_visible()
        return codes

    def ask(self, other: Person) -> None:
        page = self.page
        page.goto("/friends/add/")
        page.get_by_label("Username").fill(other.name)
        page.get_by_role("button", name="Send friend request").click()
        expect(page.get_by_text("Friend request sent!")).to_be_visible()

    def approve(self, other: Person) -> None:
        page = self.page
        page.goto("/friends/requests/?tab=received")
        page.get_by_role("checkbox", name=other.name).check()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("Friend requests approved successfully!")).to_be_visible()

    def befriend(self, other: Person) -> None:
        self.ask(other)
        other.approve(self)

    def open_chat(self, other: Person, *, button: str = "Leave a message") -> None:
        page = self.page
        page.goto("/friends/")
        page.get_by_role("checkbox", name=other.name).check()
        page.get_by_role("button", name=button).click()
        page.wait_for_url(re.compile(r"/chat/[0-9a-f-]{36}/"))
        expect(self.composer(other)).to_be_visible()

    def composer(self, other: Person, *, page: Page | None = None) -> Any:
        return (page or self.page).get_by_label(f"Message to {other.name}")

    def send(self, other: Person, text: str, *, page: Page | None = None) -> None:
        composer = self.composer(other, page=page)
        composer.fill(text)
        composer.press("Enter")

    def log(self, other: Person, *, page: Page | None = None) -> Any:
        return (page or self.page).get_by_role("log", name=f"Messages with {other.name}")

    def expect_message(self, other: Person, text: str, *, page: Page | None = None) -> None:
        expect(self.log(other, page=page).get_by_text(text, exact=True)).to_be_visible()

    def message(self, other: Person, text: str) -> Any:
        """The row of the log with this text and its state."""
        return self.log(other).get_by_role("listitem").filter(has_text=text)

    def expect_sent(self, other: Person, text: str) -> None:
        """Long enough for the longest pause before a connection is tried again."""
        expect(self.message(other, text)).to_contain_text("Sent", timeout=40_000)

    def expect_stored(self, other: Person, text: str) -> None:
        """Sent, whatever has become of it since."""
        row = self.log(other).get_by_role("listitem").filter(has=self.page.get_by_text(text, exact=True))
        expect(row).to_have_attribute("data-status", re.compile("sent|delivered|read"), timeout=40_000)

    def send_many(self, other: Person, prefix: str, count: int, *, page: Page | None = None) -> None:
        """ "prefix 0", "prefix 1" …, as fast as the page takes them."""
        (page or self.page).evaluate(SEND_MANY, [f"Message to {other.name}", prefix, count])

    @property
    def lock(self) -> Any:
        """What opens the details of the conversation, with the word for how sure it is."""
        return self.page.get_by_role("button", name="Conversation details")

    @property
    def drawer(self) -> Any:
        return self.page.get_by_role("complementary", name="Conversation details")

    def open_drawer(self) -> Any:
        self.lock.click()
        expect(self.drawer.get_by_role("heading", name="Encryption")).to_be_focused()
        return self.drawer

    def press(self, name: str) -> None:
        """A button of the details."""
        self.drawer.get_by_role("button", name=name, exact=True).click()

    def verify(self) -> None:
        """Opens the details and says that the safety numbers match."""
        self.open_drawer()
        self.press("They match")
        expect(self.lock).to_contain_text("Encrypted · verified")

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path)


def set_password_on_the_server(server: LiveServer, person: Person, password: str) -> None:
    """As whoever runs the server does. Without a terminal, the command reads what is piped to it."""
    subprocess.run(
        [sys.executable, "manage.py", "changepassword", person.name],
        cwd=server.root,
        env=server.environment,
        input=f"{password}\n{password}\n",
        check=True,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    person.password = password


def expect_no_alarm(*pages: Page) -> None:
    for page in pages:
        expect(page.locator(".banner-alarm")).to_have_count(0)
        expect(page.get_by_text("It is not shown")).to_have_count(0)
