"""The page of dhmd report in a real browser without a screen: no console errors; sorting and browsing work."""

import json
import shutil

import pytest

from dhmd.report.build import Limits, build
from dhmd.report.page import render
from fabricated import ALL_STAGES, make_run

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium: install Debian's chromium and chromium-driver"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / 'study "quoted" <b>'
    for seed in (1, 2):
        make_run(folder / f"full_{seed}", seed=seed, noise=0.5, n=40, epochs=5, stages=ALL_STAGES)
        make_run(folder / f"no_gd_{seed}", seed=seed, noise=1.5, ablation="no_gd", n=40, epochs=5, stages=("activations", "embeddings"))
        make_run(folder / f"plain_{seed}", seed=seed, noise=1.0, ablation="no_dictionary", n=40, epochs=5, stages=("edges",))
    found = build(folder, Limits(samples=25))
    name = next(iter(found.browser["texts"]))
    found.browser["texts"][name]["video0$_$0"] = "<img src=x onerror=document.title='broken'> a needle"
    path = folder.parent / "report.html"
    path.write_text(render(found), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium, page):
    """The page, opened anew on a desk; what the console said is looked at when the test is over."""
    show(chromium, page)
    yield chromium
    assert chromium.get_log("browser") == []
    assert not chromium.title.startswith("broken")


def show(driver, page, width=1280, scheme="light"):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # a page that still scrolls cannot be clicked
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": k, "value": v} for k, v in features.items()]})
    driver.get(page.as_uri())


def of(browser, css):
    return browser.find_elements("css selector", css)


def pick(browser, name, value):
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("id", name)).select_by_value(value)


def column(browser, table, number):
    return [cell.get_attribute("data-value") for cell in of(browser, f"{table} tbody tr > :nth-child({number})")]


def test_tables_sort_by_mouse_and_keyboard(browser):
    from selenium.webdriver.common.keys import Keys

    table = "#results table.sortable"
    heads = of(browser, f"{table}:first-of-type thead th")
    number = 1 + next(i for i, head in enumerate(heads) if head.text.startswith("MAE"))
    button = heads[number - 1].find_element("tag name", "button")
    button.click()
    values = [float(x) for x in column(browser, table, number)[:3]]
    assert values == sorted(values, reverse=True)
    assert heads[number - 1].get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    assert [float(x) for x in column(browser, table, number)[:3]] == sorted(values)
    assert heads[number - 1].get_attribute("aria-sort") == "ascending"
    heads[0].find_element("tag name", "button").send_keys(Keys.SPACE)
    names = column(browser, table, 1)[:3]
    assert names == sorted(names)
    assert [head.get_attribute("aria-sort") for head in heads].count(None) == len(heads) - 1


def test_the_forest_of_another_metric(browser):
    assert [part.is_displayed() for part in of(browser, "#ablation .option")].count(True) == 1
    pick(browser, "metric-1", "forest-1-corr")
    (shown,) = [part for part in of(browser, "#ablation .option") if part.is_displayed()]
    assert shown.get_attribute("id") == "forest-1-corr"
    assert "Corr: difference to dhmd" in shown.text
    marks = shown.find_elements("css selector", "tbody svg.forest")
    assert len(marks) == 2
    assert all(mark.size["width"] > 200 for mark in marks)


def test_another_run_changes_every_theme(browser):
    pick(browser, "run", "run2")
    assert {part.get_attribute("data-run") for part in of(browser, ".of-run") if part.is_displayed()} == {"run2"}
    pick(browser, "run", "run1")
    assert len([one for one in of(browser, "#edges svg.chart") if one.is_displayed()]) > 20


def test_samples_are_found_paged_and_shown(browser):
    from selenium.webdriver.common.keys import Keys

    rows = "#rows button"
    assert len(of(browser, rows)) == 10
    assert browser.find_element("id", "count").text == "25 of 25 samples"
    assert not browser.find_element("id", "before").is_enabled()
    browser.find_element("id", "after").click()
    browser.find_element("id", "after").click()
    assert browser.find_element("id", "page").text == "page 3 of 3"
    assert len(of(browser, rows)) == 5
    browser.find_element("id", "find").send_keys("NEEDLE")
    (only,) = of(browser, rows)
    assert "<img src=x" in only.text, "text is text"
    assert of(browser, "img") == []
    sample = browser.find_element("id", "sample")
    assert "Edges, homogeneous space" in sample.text
    assert "language → vision" in sample.text
    assert len(of(browser, "#sample .track")) == 12
    assert len(of(browser, "#sample .chips")) == 6
    browser.find_element("id", "find").clear()
    browser.find_element("id", "find").send_keys("no such sample")
    assert sample.text == "No sample fits."
    browser.find_element("id", "find").send_keys(Keys.CONTROL, "a")
    browser.find_element("id", "find").send_keys(Keys.DELETE)
    pick(browser, "order", "error")
    numbers = [[float(c.text.replace("−", "-")) for c in row.find_elements("tag name", "td")] for row in of(browser, "#rows tr")]
    errors = [abs(label - prediction) for label, prediction in numbers]
    assert errors == sorted(errors, reverse=True)
    pick(browser, "which", "wrong")
    assert all("wrong" in cell.get_attribute("class") for cell in of(browser, "#rows td:last-child"))


def test_arrows_walk_through_the_samples(browser):
    from selenium.webdriver.common.keys import Keys

    first, second, *_ = of(browser, "#rows button")
    first.send_keys(Keys.ARROW_DOWN)
    assert browser.switch_to.active_element == second
    assert second.get_attribute("aria-current") == "true"
    assert browser.find_element("css selector", "#sample h3").text == second.get_attribute("data-id")


@pytest.mark.slow
def test_everything_is_reached_by_the_keyboard(browser):
    from selenium.webdriver.common.keys import Keys

    active = browser.switch_to.active_element
    active.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to the results"
    seen = set()
    for _ in range(150):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(browser.switch_to.active_element.get_attribute("id"))
    assert {"theme", "run", "metric-1", "find", "which", "order", "after"} <= seen


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_desks_and_phones_light_and_dark(browser, page, width, scheme):
    show(browser, page, width, scheme)
    script = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    there, room = browser.execute_script(script)
    assert there <= room, "the page scrolls sideways"
    ink, ground = (browser.execute_script(f"return getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert (brightness(ground) < brightness(ink)) == (scheme == "dark")
    assert contrast(ink, ground) > 7
    soft = browser.execute_script("return getComputedStyle(document.querySelector('.hint')).color")
    assert contrast(soft, ground) > 4.5
    places = browser.execute_script(
        "return [...document.querySelectorAll('.option.chosen svg.forest')]"
        ".map((svg) => svg.getBoundingClientRect()).map((box) => [box.left, box.width])"
    )
    assert len(places) == 3
    assert all(place == pytest.approx(places[0], abs=0.5) for place in places), "rows and axis have one scale"
    assert sum(places[0]) <= width
    small = browser.execute_script(
        "return [...document.querySelectorAll('#curves .chosen svg text')].map((t) => t.getBoundingClientRect().height)"
    )
    assert min(small) > 10, "numbers of the smallest pictures, in pixels with their line"
    image = browser.get_screenshot_as_png()
    assert len(image) > 10_000


def test_the_theme_can_be_chosen(browser):
    button = browser.find_element("id", "theme")
    grounds = []
    for _ in range(3):
        button.click()
        grounds.append((button.text, browser.execute_script("return getComputedStyle(document.body).backgroundColor")))
    assert [text for text, _ in grounds] == ["Theme: light", "Theme: dark", "Theme: automatic"]
    assert brightness(grounds[0][1]) > 0.9 > 0.1 > brightness(grounds[1][1])
    assert grounds[2][1] == grounds[0][1]


def test_nothing_is_asked_of_a_network(chromium, page):
    chromium.get_log("performance")
    show(chromium, page)
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def _channels(colour):
    numbers = [float(x) / 255 for x in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in numbers]


def brightness(colour):
    """Relative luminance, as WCAG defines it."""
    red, green, blue = _channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    """Contrast ratio, as WCAG defines it."""
    light, dark = sorted([brightness(one), brightness(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)
