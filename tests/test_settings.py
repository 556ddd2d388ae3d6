"""Settings, baseline, output: where they come from, and what is no use."""

import base64
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import OUTPUT, ROOT, Extract, Patch, Serve, flat, written

import extract_training_data as script

URL, KEY = "https://abcdefgh.supabase.co", "sb_secret_1"


def settings_from(**environ: str) -> tuple[str, str]:
    """Return the URL and the key that this environment and the files give."""
    return script.read_settings(environ)


# --- Settings


def test_the_environment_comes_before_the_files(home: Path) -> None:
    (home / ".env.local").write_text("SUPABASE_URL=https://b.co\nSUPABASE_SECRET_KEY=b")
    (home / ".env").write_text("SUPABASE_URL=https://c.co\nSUPABASE_SECRET_KEY=c")
    assert settings_from(SUPABASE_URL=URL, SUPABASE_SECRET_KEY=KEY) == (URL, KEY)
    assert settings_from(SUPABASE_SECRET_KEY=KEY) == ("https://b.co", KEY)
    assert settings_from() == ("https://b.co", "b")
    (home / ".env.local").unlink()
    assert settings_from() == ("https://c.co", "c")


def test_an_older_name_in_the_environment_comes_before_a_newer_one_in_a_file(
    home: Path,
) -> None:
    (home / ".env").write_text("SUPABASE_URL=https://c.co\nSUPABASE_SECRET_KEY=c")
    older = {"NEXT_PUBLIC_SUPABASE_URL": URL, "SUPABASE_SERVICE_ROLE_KEY": KEY}
    assert settings_from(**older) == (URL, KEY)


def test_the_newer_name_comes_first() -> None:
    names = {
        "NEXT_PUBLIC_SUPABASE_URL": "https://old.co",
        "SUPABASE_URL": URL,
        "SUPABASE_SERVICE_ROLE_KEY": "eyJ.old",
        "SUPABASE_SECRET_KEY": KEY,
    }
    assert settings_from(**names) == (URL, KEY)


def test_a_setting_that_is_empty_counts_for_nothing(home: Path) -> None:
    (home / ".env").write_text(f"SUPABASE_URL={URL}\nSUPABASE_SECRET_KEY={KEY}\n")
    (home / ".env.local").write_text("SUPABASE_URL=\nSUPABASE_SECRET_KEY\n")
    assert settings_from(SUPABASE_URL="", SUPABASE_SECRET_KEY=" ") == (URL, KEY)


def test_the_env_local_of_a_next_js_app_works_as_it_is(home: Path) -> None:
    (home / ".env.local").write_bytes(
        b"\xef\xbb\xbf"  # as Windows begins a file in UTF-8
        b'NEXT_PUBLIC_SUPABASE_URL="https://abcdefgh.supabase.co"\r\n'
        b"NEXT_PUBLIC_SUPABASE_ANON_KEY=eyJ.anon\r\n"
        b"export SUPABASE_SERVICE_ROLE_KEY='eyJ.service'  # the legacy key\r\n"
    )
    assert settings_from() == (URL, "eyJ.service")


@pytest.mark.parametrize(
    "url", [f"{URL}/", f" {URL} ", f"{URL}/rest/v1", f"{URL}/rest/v1/"]
)
def test_the_url_as_the_dashboard_shows_it(url: str) -> None:
    assert settings_from(SUPABASE_URL=url, SUPABASE_SECRET_KEY=KEY)[0] == URL


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com:8443/supabase",
        "https://db.my-firm.co/supa-base/v1.0",
        "https://a.co/rest/v1/x",
        "http://localhost:54321",
        "https://a-b_c.co:65535/~x/v1",
        f"https://{'a' * 63}.{'b' * 63}:1",
    ],
)
def test_a_port_and_a_path_are_kept(url: str) -> None:
    assert settings_from(SUPABASE_URL=url, SUPABASE_SECRET_KEY="a.B_c-9") == (
        url,
        "a.B_c-9",
    )


# fmt: off
NO_URLS = [
    "", "  ", "abcdefgh.supabase.co", "https://", "https:///rest", KEY,
    "ftp://a.supabase.co", "https://a b.supabase.co", "https://a..supabase.co",
    "https://\u00e4.supabase.co", "https://xn--a.supabase.co",
    "http://192.168.0.256:8000", "https://a.co:port", "https://a.co:70000",
    "https://a.co:65536", "https://a.co:0", f"https://{'a' * 64}.co",
    "https://a." + "b" * 64, "HTTPS://A.co",
    "https://a.supabase.co?apikey=1", "https://a.supabase.co/#settings",
    "postgresql://postgres:secret@a.co:5432/postgres", "https://me:secret@a.co",
]
# fmt: on


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_of_a_project(url: str) -> None:
    with pytest.raises(script.UsageError) as error:
        settings_from(SUPABASE_URL=url, SUPABASE_SECRET_KEY=KEY)
    state = "malformed" if url.strip() else "not set"
    assert error.value.problem == f"SUPABASE_URL is {state}"
    assert "secret@" not in error.value.advice
    assert KEY not in error.value.advice


@pytest.mark.parametrize(
    "key",
    ["", f"{KEY} # mine", f"{KEY}\n{KEY}", "schlüssel", "https://abc.co", "sb_secret."],
)
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(script.UsageError) as error:
        settings_from(SUPABASE_URL=URL, SUPABASE_SECRET_KEY=key)
    state = "malformed" if key else "not set"
    assert error.value.problem == f"SUPABASE_SECRET_KEY is {state}"
    assert KEY not in error.value.advice


NOTHING_SET = "SUPABASE_URL is not set, and SUPABASE_SECRET_KEY is not set"


def test_no_settings_at_all() -> None:
    with pytest.raises(script.UsageError) as error:
        settings_from()
    assert error.value.problem == NOTHING_SET
    assert error.value.advice.splitlines() == [
        "Two settings are needed, which look like",
        "    SUPABASE_URL=https://abcdefgh.supabase.co",
        "    SUPABASE_SECRET_KEY=sb_secret_...",
        "Copy .env.example to .env and fill it in, or set them in the environment.",
        f".env.local and .env are looked for in {ROOT}",
    ]


def test_an_env_file_in_utf_16(home: Path) -> None:
    (home / ".env").write_bytes("SUPABASE_URL=x".encode("utf-16"))  # by PowerShell
    with pytest.raises(script.UsageError) as error:
        settings_from(SUPABASE_URL=URL, SUPABASE_SECRET_KEY=KEY)
    assert error.value.problem.startswith(f"{home}/.env can't be read: 'utf-8' codec")
    assert error.value.advice == (
        "Make it readable, and save it as UTF-8. (PowerShell may have written UTF-16.)"
    )


def test_an_env_file_that_may_not_be_read(monkeypatch: Patch) -> None:
    def forbid(path: Path, encoding: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(script, "dotenv_values", forbid)
    with pytest.raises(script.UsageError, match="Permission denied: '.*/.env.local'"):
        settings_from(SUPABASE_URL=URL, SUPABASE_SECRET_KEY=KEY)


@pytest.mark.parametrize(
    "host",
    ["abc.supabase.co", "192.168.0.7:8000", "localhost.example.com", "127.0.0.10"],
)
def test_plain_http_to_another_machine_is_warned_of(host: str) -> None:
    [warning] = script.setting_warnings(f"http://{host}", KEY)
    assert warning == (
        "SUPABASE_URL is plain http: others can read the key on the way. Use https."
    )
    assert list(script.setting_warnings(f"https://{host}", KEY)) == []


@pytest.mark.parametrize("host", ["localhost", "localhost:54321", "127.0.0.1:54321"])
def test_plain_http_to_this_machine_is_fine(host: str) -> None:
    assert list(script.setting_warnings(f"http://{host}", KEY)) == []


def jwt(payload: bytes) -> str:
    """Return a key in the form of a JSON Web Token, signed by nobody."""
    encoded = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{encoded}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "key",
    [
        "sb_publishable_local",
        jwt(b'{"role":"anon","iss":"supabase-demo","exp":1983812996}'),
        jwt(b'{"role":"anon"}'),  # of other lengths, so that the padding differs
        jwt(b'{"role":"anon" }'),
        jwt('{"iss":"\u00ff\u00fe~~>>??","role":"anon"}'.encode()),  # has - and _
    ],
)
def test_a_publishable_key_is_warned_of(
    key: str, serve: Serve, extract: Extract
) -> None:
    report, said = extract(serve(10, key=key))
    assert flat(said) == (
        "Warning: The key is a publishable (anon) one. Row-level security may show it "
        "only a part of the table, and the training set would be made from that part. "
        "Use a secret key (sb_secret_... or service_role)."
    )
    assert max(map(len, said.splitlines())) <= 80
    assert "Warning" not in report
    assert written()["trainSet"]["count"] == 8


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        "x-sb_publishable_",
        jwt(b'{"role":"service_role"}'),
        jwt(b'{"role":"authenticated"}'),
        jwt(b'{"iss":"anon"}'),
        jwt(b'["anon"]'),
        jwt(b'"anon"'),
        jwt(b"anon"),
        "a.b",
        "a.b.c.d",
        "eyJ.x.y",
        "anon",
    ],
)
def test_any_other_key_is_not(key: str) -> None:
    assert list(script.setting_warnings(URL, key)) == []


def test_the_example_holds_the_settings_and_no_values(home: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (home / ".env").write_text(example)
    with pytest.raises(script.UsageError, match=NOTHING_SET):
        settings_from()
    filled = example.replace("SUPABASE_URL=\n", f"SUPABASE_URL={URL}\n")
    filled = filled.replace("SUPABASE_SECRET_KEY=\n", f"SUPABASE_SECRET_KEY={KEY}\n")
    (home / ".env").write_text(filled)
    assert settings_from() == (URL, KEY)


# --- The baseline


def test_the_shipped_baseline_has_the_real_figures() -> None:
    baseline, thresholds = script.read_baseline(ROOT / "calibration-baseline.json")
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
    shipped = script.read_baseline(script.BASELINE)
    baseline = json.loads(script.BASELINE.read_text())
    baseline["virality_tiers"].reverse()
    baseline["duration_analysis"] = {"optimal": [7, 15]}
    path = Path("larger.json")
    path.write_text("\ufeff" + json.dumps(baseline), encoding="utf-8")
    larger, thresholds = script.read_baseline(path)
    assert (larger["virality_tiers"], thresholds) == (
        shipped[0]["virality_tiers"],
        shipped[1],
    )


def test_another_baseline_gives_other_tiers(serve: Serve, extract: Extract) -> None:
    tiers = [
        {"tier": tier, "weighted_score_threshold": {"min": low}}
        for tier, low in enumerate((0, 1000, 2000, 3000, 4000), 1)
    ]
    Path("mine.json").write_text(json.dumps({"virality_tiers": tiers}))
    extract(serve(50), "--baseline", "mine.json")
    data = written()
    assert set(data["trainSet"]["labels"] + data["testSet"]["labels"]) == {1}


def baseline_with(changed: int = 3, **changes: Any) -> dict[str, Any]:
    """Return a good baseline, with a change to one tier."""
    tiers = [
        {"tier": tier, "weighted_score_threshold": {"min": tier / 10, "max": tier}}
        for tier in (1, 2, 3, 4, 5)
    ]
    tiers[changed - 1] |= changes
    return {"virality_tiers": tiers}


def baseline_with_threshold(low: Any, tier: int = 3) -> dict[str, Any]:
    """Return a good baseline, but for the threshold of one tier."""
    return baseline_with(tier, weighted_score_threshold={"min": low, "max": 1})


NOT_ONE_TO_FIVE = "its tiers are not 1 to 5, once each"
NOT_ASCENDING = "its thresholds do not ascend with the tiers"
NOT_FINITE = "its thresholds are not all finite numbers"
NOT_THERE = "it needs virality_tiers, each with tier and weighted_score_threshold.min"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it is not JSON: Expecting value"),
        (b"\xff\xfe{\0}\0", "it is not JSON: 'utf-8' codec can't decode"),
        ([], NOT_THERE),
        ({}, NOT_THERE),
        (baseline_with(weighted_score_threshold={}), NOT_THERE),
        (baseline_with(weighted_score_threshold=None), NOT_THERE),
        (baseline_with_threshold("0.3"), NOT_FINITE),
        ({"virality_tiers": baseline_with()["virality_tiers"][:4]}, NOT_ONE_TO_FIVE),
        (baseline_with(tier=4), NOT_ONE_TO_FIVE),
        (baseline_with(tier=2), NOT_ONE_TO_FIVE),
        (baseline_with(5, tier=6), NOT_ONE_TO_FIVE),
        (baseline_with_threshold(0.2), NOT_ASCENDING),
        (baseline_with_threshold(0.2, 1), NOT_ASCENDING),
        (baseline_with_threshold(0.1), NOT_ASCENDING),
        (baseline_with_threshold(0.4), NOT_ASCENDING),
        (baseline_with_threshold(math.nan), NOT_FINITE),
        (baseline_with_threshold(math.inf, 5), NOT_FINITE),
        (baseline_with_threshold(-math.inf, 1), NOT_FINITE),
        (baseline_with_threshold(10**400), NOT_ASCENDING),
    ],
)
def test_a_baseline_that_is_wrong(content: Any, problem: str) -> None:
    path = Path("other.json")
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(script.UsageError) as error:
        script.read_baseline(path)
    start = f"The baseline other.json can't be used: {problem}"
    assert error.value.problem.startswith(start)
    assert error.value.advice == (
        "Restore the one that came with the script, or name another with --baseline."
    )


@pytest.mark.parametrize(
    ("path", "problem"),
    [("nowhere.json", "No such file or directory"), (".", "Is a directory")],
)
def test_a_baseline_that_is_not_there(path: str, problem: str) -> None:
    with pytest.raises(script.UsageError) as error:
        script.read_baseline(Path(path))
    assert error.value.problem == f"The baseline {path} can't be used: {problem}"


# --- The output


FOLDER = "Can't write in the folder of"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere/a.json", f"{FOLDER} nowhere/a.json: No such file or directory"),
        (f"{OUTPUT}/a.json", f"{FOLDER} {OUTPUT}/a.json: Not a directory"),
        (".", "--output . is a folder or a device"),
        (os.devnull, f"--output {os.devnull} is a folder or a device"),
    ],
)
def test_an_output_that_can_not_be_written(path: str, problem: str) -> None:
    OUTPUT.write_text("earlier")
    with pytest.raises(script.UsageError) as error:
        script.resolve_output(Path(path))
    assert error.value.problem == problem
    assert error.value.advice in (
        "Name a file, such as training-data.json.",
        "Name a file in another folder with --output.",
    )
    assert os.listdir() == [OUTPUT.name]


def test_a_folder_in_which_no_file_can_be_made() -> None:
    """The one with the process's open files can be listed, even by root."""
    assert os.listdir("/dev/fd")
    with pytest.raises(script.UsageError, match="^.*in the folder of /dev/fd/a.json: "):
        script.resolve_output(Path("/dev/fd/a.json"))


def test_an_output_in_a_folder_that_may_not_be_entered(monkeypatch: Patch) -> None:
    def forbid(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", forbid)
    with pytest.raises(
        script.UsageError, match="training-data.json: Permission denied"
    ):
        script.resolve_output(OUTPUT)


def test_a_working_folder_that_was_deleted(serve: Serve, extract: Extract) -> None:
    Path.cwd().rmdir()
    server = serve(10)
    said = extract(server, code=2).err
    assert said.splitlines() == [
        f"Error: {FOLDER} {OUTPUT}: No such file or directory.",
        "Name a file in another folder with --output.",
        "Nothing was written.",
    ]
    assert server.requests == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            "--baseline nowhere.json",
            "The baseline nowhere.json can't be used: No such file or directory",
        ),
        ("--output .", "--output . is a folder or a device"),
    ],
)
def test_all_is_checked_before_the_first_request(
    options: str, problem: str, serve: Serve, extract: Extract
) -> None:
    server = serve(10)
    report, said = extract(server, *options.split(), code=2)
    assert report == ""
    assert said.startswith(f"Error: {problem}.\n")
    assert said.endswith("\nNothing was written.\n")
    assert server.requests == []
    assert os.listdir() == []
