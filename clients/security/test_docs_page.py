"""The page `/docs` in a real browser: its credential fetches the description and signs the tries."""

import pytest

import browser

PROGRAM = browser.find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")

FORM_IS_THERE = "!!document.getElementById('sign-in') && !document.getElementById('sign-in').hidden"

STATUS = ".live-responses-table tbody .response-col_status"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    opened = browser.Browser(PROGRAM, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


def block(path):
    """The block of a GET, by its path, marked so that selectors find it."""
    return f"""(() => {{
        const all = [...document.querySelectorAll(".opblock-get")];
        const path = block => block.querySelector(".opblock-summary-path")?.dataset.path;
        const found = all.find(block => path(block) === {path!r});
        if (found) found.id = "tried";
        return !!found;
    }})()"""


def sign_in(page, kind, credential):
    page.type("#kind", kind)
    page.type("#credential", credential)
    page.click("#sign-in button")


def tried(page):
    """Executes the operation that is open; the status of the answer."""
    page.ask("document.querySelectorAll('#tried .btn-clear').forEach(button => button.click())")
    page.wait(f"!document.querySelector('#tried {STATUS}')")
    page.click("#tried .execute")
    return page.wait(f"document.querySelector('#tried {STATUS}')?.innerText.trim()")


def last_call(page, path):
    return [(url, headers) for _, url, headers in page.requests if url.endswith(path)][-1]


def test_a_token_fetches_the_description_signs_the_tries_and_is_forgotten_on_logout(guard, issuer, chromium):
    server, page = guard(), chromium
    page.open(f"http://{server.rest}/docs")
    page.wait(FORM_IS_THERE)
    assert "Authorize" in page.ask("document.querySelector('#sign-in button').innerText")
    sign_in(page, "bearer", "wrong")
    page.wait("document.getElementById('refusal').innerText === 'the credential does not hold'")
    token = issuer.token("alice")
    sign_in(page, "bearer", token)
    page.wait("document.getElementById('sign-in').hidden && document.querySelectorAll('.opblock').length > 10")
    assert last_call(page, "/openapi.json")[1]["Authorization"] == f"Bearer {token}"

    page.wait(block("/v2/models/{model_name}"))
    page.click("#tried .opblock-summary-control")
    page.click("#tried .try-out__btn")
    page.type("#tried .parameters input", "m")
    assert tried(page) == "200"
    assert last_call(page, "/v2/models/m")[1]["Authorization"] == f"Bearer {token}"

    # The button of the page: out, and in again.
    page.click(".auth-wrapper .authorize")
    page.wait("[...document.querySelectorAll('.auth-container button')].some(b => b.innerText === 'Logout')")
    page.ask("[...document.querySelectorAll('.auth-container button')].find(b => b.innerText === 'Logout').click()")
    page.wait("!!document.querySelector('.auth-container input')")
    page.click(".modal-ux .close-modal")
    assert tried(page) == "401"
    assert "Authorization" not in last_call(page, "/v2/models/m")[1]
    page.click(".auth-wrapper .authorize")
    page.type(".auth-container input[aria-label='auth-bearer-value'], .auth-container input", token)
    page.click(".auth-container .authorize")
    page.click(".modal-ux .close-modal")
    assert tried(page) == "200"
    assert all(url.startswith((f"http://{server.rest}/", "data:", "about:")) for _, url, _ in page.requests)
    assert not page.faults, page.faults


def test_an_api_key_does_the_same(guard, chromium, tmp_path):
    import hashlib

    key, keys = "oip_of_a_browser", tmp_path / "keys"
    keys.write_text(f"sha256:{hashlib.sha256(key.encode()).hexdigest()} browser reader\n")
    server, page = guard("--auth-api-keys-file", keys, keys=False), chromium
    page.open(f"http://{server.rest}/docs")
    page.wait(FORM_IS_THERE)
    sign_in(page, "apiKey", key)
    page.wait("document.getElementById('sign-in').hidden && document.querySelectorAll('.opblock').length > 10")
    page.wait(block("/v2/models/{model_name}"))
    page.click("#tried .opblock-summary-control")
    page.click("#tried .try-out__btn")
    page.type("#tried .parameters input", "m")
    assert tried(page) == "200"
    assert last_call(page, "/v2/models/m")[1]["X-API-Key"] == key


def test_without_authentication_the_page_shows_the_interface_at_once(chromium, start):
    server, page = start(None), chromium
    page.open(f"http://{server.rest}/docs")
    page.wait("document.getElementById('sign-in')?.hidden && document.querySelectorAll('.opblock').length > 10")
