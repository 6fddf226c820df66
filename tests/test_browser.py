"""The report in a browser: it asks for nothing, fits a phone, can be read and used without a mouse."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from layerwise import LBFGS, Autoencoder, KLSparsity, StackedAutoencoder, StackedClassifier
from layerwise.report import write_report

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}")

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHORT = LBFGS(max_iter=5)
HOSTILE = "</script><img src=x onerror=alert(1)>"
# Of what is drawn as text: its colour and the first background behind it that is not transparent.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 255];
  };
  return [...document.querySelectorAll("h1,h2,h3,h4,p,a,li,td,th,dt,dd,figcaption,button,strong,code,label,.muted")]
    .filter((element) => element.offsetParent && element.textContent.trim())
    .map((element) => {
      const [text, ground] = [getComputedStyle(element).color, behind(element)];
      const [a, b] = [luminance(rgba(text)), luminance(ground)].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), element.tagName, element.textContent.trim().slice(0, 40)];
    });
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "report.html"
    X, y = load_digits(return_X_y=True)
    X, y = X[:90] / 16, y[:90]
    layers = [Autoencoder(n, sparsity=KLSparsity(0.1), solver=SHORT) for n in (30, 9)]
    model = StackedClassifier(StackedAutoencoder(layers), solver=LBFGS(max_iter=2), random_state=0).fit(X, y)
    write_report(path, model, X, y=y, run={"command": "layerwise fit " + "very-" * 60}, image_shape=(8, 8))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "report.html"
    X, y = load_breast_cancer(return_X_y=True)
    X, y = X[:90], np.array([HOSTILE, f"{HOSTILE} too"])[y[:90]]
    layer = Autoencoder(6, activation="tanh", output_activation="identity", solver=SHORT)
    model = StackedClassifier(layer, solver=LBFGS(max_iter=1), random_state=0).fit(X, y)
    names = [f"{HOSTILE} {index}" for index in range(30)]
    rows = ["x" * 200, *(f"{HOSTILE} {index}" for index in range(89))]
    write_report(path, model, X, y=y, feature_names=names, row_names=rows, run={"command": HOSTILE, HOSTILE: HOSTILE})
    return path


@pytest.fixture(params=["images", "table"])
def path(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def open_page(browser):
    """Open a page; at the end, check that it was silent and asked for nothing."""
    complaints, contexts = [], []

    def open_it(path, *, width=1280, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda asked: complaints.append(asked.url) if not is_own(asked.url, path) else None)
        page.goto(path.as_uri())
        if settings.get("java_script_enabled", True):
            page.wait_for_selector("#browser-units button")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []


def is_own(url, path):
    return url.startswith("data:") or url == path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_fits_and_can_be_read(open_page, path, width, scheme):
    page = open_page(path, width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelectorAll('img:not([alt]), img[alt=\"\"]').length") == 0
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert min(contrasts)[0] >= 4.5, min(contrasts)
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (sum(numbers(ink)) > sum(numbers(paper))) == (scheme == "dark")


def numbers(colour):
    return [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")]


def test_theme_is_chosen_by_keyboard(open_page, images):
    page = open_page(images, color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert page.inner_text("#theme") == "Dark"
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    assert page.inner_text("#theme") == "Light"


def test_units_are_browsed_by_mouse(open_page, images):
    page = open_page(images)
    page.click("#browser-units button >> nth=7")
    assert page.inner_text("#browser-name") == "layer 0, unit 7"
    assert page.locator("#browser-best li").count() == 8
    assert page.locator("#browser-bars rect").count() == 24
    assert page.locator("#browser-filter .tile").evaluate("tile => tile.style.backgroundImage").startswith('url("data:')
    assert "the range of all units of the layer" in page.inner_text("#browser-scale")
    page.select_option("#browser-layer", "1")
    assert page.inner_text("#browser-name") == "layer 1, unit 0"
    assert page.locator("#browser-units button").count() == 9


def test_units_are_browsed_by_keyboard(open_page, images):
    page = open_page(images)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.parentElement.id") == "browser-units":
            break
    name = page.locator("#browser-name")
    for key, unit in (
        ("ArrowRight", 1),
        ("ArrowLeft", 0),
        ("ArrowLeft", 0),
        ("End", 29),
        ("ArrowDown", 29),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        assert name.inner_text() == f"layer 0, unit {unit}"
    page.keyboard.press("ArrowDown")
    below = int(name.inner_text().split()[-1])
    places = page.evaluate(
        "[...document.querySelectorAll('#browser-units button')].map(b => [b.offsetLeft, b.offsetTop])"
    )
    assert places[below][0] == places[0][0]
    assert places[below][1] > places[0][1]
    focused = page.evaluate("document.activeElement.getAttribute('aria-pressed')")
    assert focused == "true"
    assert page.evaluate("document.querySelectorAll('#browser-units [tabindex=\"0\"]').length") == 1
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_filters_of_the_browser_are_those_of_the_picture(open_page, images):
    """The middle of a tile of the browser is the middle of the same tile of the picture."""
    page = open_page(images)
    unit = 17
    page.click(f"#browser-units button >> nth={unit}")
    shown, drawn = page.evaluate(
        """async (unit) => {
          const layer = JSON.parse(document.getElementById("browser-data").textContent).layers[0];
          const image = document.getElementById(layer.sprite), [width, height] = layer.tile;
          const draw = (w, h, paint) => {
            const canvas = document.createElement("canvas");
            canvas.width = w; canvas.height = h;
            paint(canvas.getContext("2d"));
            return [...canvas.getContext("2d").getImageData(0, 0, w, h).data];
          };
          const style = document.querySelector("#browser-filter .tile").style;
          const [sx, sy] = style.backgroundSize.split(" ").map((part) => parseFloat(part) / 100);
          const [px, py] = style.backgroundPosition.split(" ").map((part) => parseFloat(part) / 100);
          const shown = draw(width, height, (c) => c.drawImage(image, (width - sx * width) * px,
            (height - sy * height) * py, sx * width, sy * height));
          const x = unit % layer.columns * (width + 1), y = Math.floor(unit / layer.columns) * (height + 1);
          return [shown, draw(width, height, (c) => c.drawImage(image, x, y, width, height, 0, 0, width, height))];
        }""",
        unit,
    )
    np.testing.assert_allclose(shown, drawn, atol=3)
    assert len(set(drawn)) > 10


def test_units_of_a_table(open_page, table):
    page = open_page(table)
    page.click("#browser-units button >> nth=2")
    assert page.locator(".weights dt").count() == 12
    assert page.locator(".weights dt").first.inner_text().startswith("</script>")
    assert page.locator("#browser-best tbody tr").count() == 5
    assert page.locator("#browser-best th[scope=col]").count() == 8
    box = "document.getElementById('browser-best')"
    wide, shown, scrolled = page.evaluate(
        f"[{box}.scrollWidth, {box}.clientWidth, ({box}.scrollLeft = 1e6, {box}.scrollLeft)]"
    )
    assert wide > shown  # names are long
    assert scrolled == pytest.approx(wide - shown, abs=1)


def test_words_from_data_do_nothing(open_page, table):
    page = open_page(table)
    assert page.evaluate("document.querySelectorAll('[onerror], img[src=x]').length") == 0
    assert page.locator("#command").inner_text() == HOSTILE
    assert HOSTILE in page.inner_text("#classes")


def test_no_script_of_others_runs(open_page, table, tmp_path):
    """Were markup from data to get through, the page's policy would stop it."""
    path = tmp_path / "changed.html"
    path.write_text(table.read_text().replace("<main", "<script>window.got = 1</script><main"))
    page = open_page(table)
    policed = page.context.new_page()
    policed.goto(path.as_uri())
    assert policed.evaluate("window.got") is None
    assert policed.inner_text("#browser-name") == "layer 0, unit 0"


def test_everything_but_the_browser_shows_without_scripts(open_page, images):
    page = open_page(images, java_script_enabled=False)
    assert page.locator("main > section:visible").count() == page.locator("main > section").count() - 1
    assert page.locator("#browser").is_hidden()
    assert page.locator("#theme").is_hidden()
    assert page.locator("#copy").is_hidden()
    assert page.locator("#filters img").count() == 3


def test_copies_the_command(open_page, images):
    page = open_page(images)
    page.click("#copy")
    page.locator("#copy", has_text=re.compile("Copied|Selected")).wait_for()  # the page allows no evaluation


def test_motion_is_reduced_on_request(open_page, images):
    page = open_page(images, reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_data_is_json(open_page, path):
    page = open_page(path)
    assert json.loads(page.evaluate("document.getElementById('browser-data').textContent"))["layers"]
