"""Settings, baseline, output: where they come from, and what is no use."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import OUTPUT, ROOT, Capture, Extract, Patch, Serve, written

import extract_training_data as script

URL, KEY = "https://abcdefgh.supabase.co", "sb_secret_1"


def settings_from(**environ: str) -> tuple[str, str]:
    """Return the URL and the key that this environment and the files give."""
    url, key = script.read_settings(environ)
    return str(url), key


# --- Settings


def test_the_environment_comes_before_env_local_and_that_before_env(home: Path) -> None:
    (home / ".env.local").write_text("SUPABASE_URL=https://b.co\nSUPABASE_SECRET_KEY=b")
    (home / ".env").write_text("SUPABASE_URL=https://c.co\nSUPABASE_SECRET_KEY=c")
    older = {"NEXT_PUBLIC_SUPABASE_URL": URL, "SUPABASE_SERVICE_ROLE_KEY": KEY}
    newer = {"SUPABASE_URL": "https://a.co", "SUPABASE_SECRET_KEY": "a"}
    assert settings_from(**older, **newer) == ("https://a.co", "a")
    assert settings_from(**older) == (URL, KEY)
    assert settings_from(SUPABASE_SECRET_KEY="a") == ("https://b.co", "a")
    (home / ".env.local").unlink()
    assert settings_from() == ("https://c.co", "c")


def test_a_setting_that_is_empty_counts_for_nothing(home: Path) -> None:
    (home / ".env").write_text(f"SUPABASE_URL={URL}\nSUPABASE_SECRET_KEY={KEY}\n")
    (home / ".env.local").write_text("SUPABASE_URL=\nSUPABASE_SECRET_KEY\n")
    assert settings_from(SUPABASE_URL="", SUPABASE_SECRET_KEY=" ") == (URL, KEY)


def test_the_env_local_of_a_next_js_app_works_as_it_is(home: Path) -> None:
    (home / ".env.local").write_bytes(
        b"\xef\xbb\xbf"  # as Windows begins a file in UTF-8
        b'NEXT_PUBLIC_SUPABASE_URL="https://abcdefgh.supabase.co"\r\n'
        b"export SUPABASE_SERVICE_ROLE_KEY='eyJ.service'  # the legacy key\r\n"
    )
    assert settings_from() == (URL, "eyJ.service")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f" {URL}/ ", URL),
        (f"{URL}/rest/v1", URL),  # as the dashboard shows it, too
        (f"{URL}/rest/v1/", URL),
        ("HTTPS://A.co", "https://a.co"),
        ("https://a.co:8443/supabase", "https://a.co:8443/supabase"),
        ("https://a.co/rest/v1/x", "https://a.co/rest/v1/x"),
        ("http://[::1]:54321", "http://[::1]:54321"),
    ],
)
def test_the_url_of_a_project(text: str, url: str) -> None:
    environ = {"SUPABASE_URL": text, "SUPABASE_SECRET_KEY": "a.B_c-9"}
    assert settings_from(**environ) == (url, "a.B_c-9")


# fmt: off
NO_URLS = [
    "", " ", "abcdefgh.supabase.co", "https://", "https://:443", "ftp://a.supabase.co",
    "https://a.co:port", "http://192.168.0.256:8000", "https://xn--a.co",
    "postgresql://postgres:secret@a.co:5432/postgres", KEY,
]
NO_KEYS = [
    "", " ", f"{KEY} mine", f"{KEY}\n{KEY}", "schl\u00fcssel", f"{URL}/{KEY}",
]
# fmt: on
WRONG = [("SUPABASE_URL", value) for value in NO_URLS]
WRONG += [("SUPABASE_SECRET_KEY", value) for value in NO_KEYS]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_setting_that_is_wrong_is_named_but_not_shown(name: str, value: str) -> None:
    good = {"SUPABASE_URL": URL, "SUPABASE_SECRET_KEY": "sb_secret_2"}
    with pytest.raises(script.UsageError) as error:
        settings_from(**good | {name: value})
    state = "malformed" if value.strip() else "not set"
    assert error.value.problem == f"{name} is {state}"
    assert error.value.advice == script.SETTINGS


def test_one_message_for_both_settings(
    home: Path, capsys: Capture, monkeypatch: Patch
) -> None:
    """The example has no values, but lines for them."""
    assert script.main([]) == 2
    nothing_set = capsys.readouterr()
    assert nothing_set.err == (
        "Error: SUPABASE_URL is not set, and SUPABASE_SECRET_KEY is not set.\n"
        f"{script.SETTINGS}\nNothing was written.\n"
    )
    assert script.SETTINGS.endswith(f" are looked for in {ROOT}")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (home / ".env").write_text(example)
    assert script.main([]) == 2
    assert capsys.readouterr() == nothing_set
    filled = example.replace("_URL=\n", f"_URL={URL}\n")
    (home / ".env").write_text(filled.replace("_KEY=\n", f"_KEY={KEY}\n"))
    assert settings_from() == (URL, KEY)


def test_an_env_file_in_utf_16_is_named(home: Path) -> None:
    (home / ".env").write_bytes("SUPABASE_URL=x".encode("utf-16"))  # by PowerShell
    with pytest.raises(script.UsageError) as error:
        settings_from(SUPABASE_URL=URL, SUPABASE_SECRET_KEY=KEY)
    assert error.value.problem.startswith(f"{home}/.env can't be read: 'utf-8' codec")
    assert error.value.advice == script.SAVE_AS_UTF_8


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has it")
def test_an_env_file_that_can_not_be_read_is_named(home: Path) -> None:
    """Not even by root, who may read any other."""
    (home / ".env.local").symlink_to("/proc/self/mem")
    with pytest.raises(script.UsageError, match=r"\.env\.local can't be read: .*Errno"):
        settings_from(SUPABASE_URL=URL, SUPABASE_SECRET_KEY=KEY)


# --- Warnings


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://abc.supabase.co", True),
        ("http://localhost.example.com", True),
        ("https://abc.supabase.co", False),
        ("http://localhost:54321", False),
        ("http://127.0.0.1:54321", False),
        ("http://[::1]:54321", False),
    ],
)
def test_plain_http_to_another_machine_is_warned_of(url: str, warned: bool) -> None:
    warnings = list(script.setting_warnings(httpx.URL(url), KEY))
    assert warnings == warned * [
        "Warning: SUPABASE_URL should be https: over http, others see the key."
    ]


def jwt(payload: str) -> str:
    """Return a key in the form of a JSON Web Token, signed by nobody."""
    encoded = base64.urlsafe_b64encode(payload.encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("key", "warned"),
    [
        ("sb_publishable_local", True),
        (jwt('{"role":"anon"}'), True),
        (jwt('{"role":"anon" }'), True),  # its padding differs
        (jwt('{"iss":"\u00ff\u00fe~~>>??","role":"anon"}'), True),  # has - and _
        (jwt('{"role":"service_role"}'), False),
        (jwt('{"iss":"anon"}'), False),
        (jwt('["anon"]'), False),
        ("x.sb_publishable_.y", False),
        ("sb_secret_1", False),
    ],
)
def test_a_publishable_key_is_warned_of(
    key: str, warned: bool, serve: Serve, extract: Extract
) -> None:
    report, said = extract(serve(10, key=key))
    assert said == (f"{script.PUBLISHABLE_KEY}\n" if warned else "")
    assert "Warning" not in report


# --- The baseline


def test_the_shipped_baseline_has_the_real_figures() -> None:
    baseline, thresholds = script.read_baseline(script.BASELINE)
    assert script.BASELINE == ROOT / "calibration-baseline.json"
    assert thresholds == [0.045752, 0.095403, 0.159572, 0.239726]
    tiers, names = baseline["virality_tiers"], ("tier", "label", "count", "percentage")
    bounds = [tier["weighted_score_threshold"]["max"] for tier in tiers]
    assert bounds == [*thresholds, 226.166667]
    assert [tuple(tier[name] for name in names) for tier in tiers] == [
        (1, "Unlikely to perform", 1829, 24.98),
        (2, "Below average", 1831, 25.01),
        (3, "Average", 1830, 25),
        (4, "Strong potential", 1098, 15),
        (5, "Viral potential", 733, 10.01),
    ]
    assert baseline["generated_at"] == "2026-02-16"
    assert baseline["total_videos_analyzed"] == 7321


def test_other_keys_and_another_order_do_not_matter() -> None:
    shipped, thresholds = script.read_baseline(script.BASELINE)
    baseline = json.loads(script.BASELINE.read_text())
    baseline["virality_tiers"].reverse()
    baseline["duration_analysis"] = {"optimal": [7, 15]}
    text = "\ufeff" + json.dumps(baseline)  # as Windows begins a file in UTF-8
    Path("larger.json").write_text(text, encoding="utf-8")
    larger = script.read_baseline(Path("larger.json"))
    assert larger == (shipped | {"duration_analysis": {"optimal": [7, 15]}}, thresholds)


def test_another_baseline_gives_other_tiers(serve: Serve, extract: Extract) -> None:
    text = json.dumps(baseline_of([0, 1000, 2000, 3000, 4000]))
    Path("mine.json").write_text(text)
    extract(serve(50), "--baseline", "mine.json")
    data = written()
    assert set(data["trainSet"]["labels"] + data["testSet"]["labels"]) == {1}
    assert data["tierThresholds"] == [1000, 2000, 3000, 4000]


def baseline_of(lowest: list[Any], tiers: Any = (1, 2, 3, 4, 5)) -> dict[str, Any]:
    """Return the least of a baseline with these tiers, each with its lowest WES."""
    entries = [
        {"tier": tier, "weighted_score_threshold": {"min": low}}
        for tier, low in zip(tiers, lowest)
    ]
    return {"virality_tiers": entries}


GOOD = [0.1, 0.2, 0.3, 0.4, 0.5]
NOT_ONE_TO_FIVE = "ValueError: its tiers are not 1 to 5, once each)"
NOT_ASCENDING = "ValueError: its thresholds are not finite and ascending)"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "JSONDecodeError: Expecting value"),
        (b"\xff\xfe{\0}\0", "UnicodeDecodeError: 'utf-8' codec"),
        ([], "TypeError: "),
        ({}, "KeyError: 'virality_tiers'"),
        ({"virality_tiers": [{"tier": 1}]}, "KeyError: 'weighted_score_threshold'"),
        (baseline_of(["0.1", *GOOD[1:]]), "TypeError: "),
        (baseline_of([*GOOD[:4], None]), "TypeError: "),
        (baseline_of(GOOD[:4]), NOT_ONE_TO_FIVE),
        (baseline_of(GOOD, (1, 2, 3, 4, 4)), NOT_ONE_TO_FIVE),
        (baseline_of(GOOD, (1, 2, 3, 4, 6)), NOT_ONE_TO_FIVE),
        (baseline_of([0.1, 0.2, 0.2, 0.4, 0.5]), NOT_ASCENDING),
        (baseline_of([0.1, 0.3, 0.2, 0.4, 0.5]), NOT_ASCENDING),
        (baseline_of([0.1, 0.2, float("nan"), 0.4, 0.5]), NOT_ASCENDING),
        (baseline_of([float("-inf"), *GOOD[1:]]), NOT_ASCENDING),
        (baseline_of([*GOOD[:4], float("inf")]), NOT_ASCENDING),
    ],
)
def test_a_baseline_that_is_wrong(content: Any, cause: str) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    Path("other.json").write_bytes(raw)
    with pytest.raises(script.UsageError) as error:
        script.read_baseline(Path("other.json"))
    start = f"The baseline other.json can't be used ({cause}"
    assert error.value.problem.startswith(start)
    assert error.value.advice == script.BASELINE_FORM


# --- The output


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--baseline no.json", "The baseline no.json can't be used (FileNotFoundError"),
        ("--baseline .", "The baseline . can't be used (IsADirectoryError: "),
        ("--output no/a.json", "Can't write no/a.json: No such file or directory."),
        (f"--output {OUTPUT}/a", f"Can't write {OUTPUT}/a: Not a directory."),
        ("--output .", "Can't write .: a folder or a device is there."),
        ("--output /dev/null", "Can't write /dev/null: a folder or a device is there."),
        # Even root can make no file there.
        ("--output /dev/fd/a.json", "Can't write /dev/fd/a.json: "),
    ],
)
def test_files_are_checked_before_the_first_request(
    options: str, problem: str, serve: Serve, extract: Extract
) -> None:
    OUTPUT.write_text("earlier")
    server = serve(10)
    report, said = extract(server, *options.split(), code=2)
    assert report == ""
    assert said.startswith(f"Error: {problem}")
    assert said.endswith("\nNothing was written.\n")
    assert (script.ELSEWHERE in said) == ("--output" in options)
    assert server.requests == []
    assert os.listdir() == [OUTPUT.name]


def test_a_working_folder_that_was_deleted(serve: Serve, extract: Extract) -> None:
    Path.cwd().rmdir()
    said = extract(serve(10), code=2).err
    assert said.startswith(f"Error: Can't write {OUTPUT}: No such file or directory.\n")
