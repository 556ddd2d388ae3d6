"""Where the settings come from, and the baseline that is used."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from local_supabase import LocalSupabase

import extract_training_data as script

URL, KEY = "https://abcdefgh.supabase.co", "sb_secret_1"


def settings(home: Path, **environ: str) -> tuple[str, str]:
    return script.read_settings(home, environ)


def test_the_environment_comes_before_the_files(home: Path) -> None:
    (home / ".env.local").write_text("SUPABASE_URL=https://b.co\nSUPABASE_SECRET_KEY=b")
    (home / ".env").write_text("SUPABASE_URL=https://c.co\nSUPABASE_SECRET_KEY=c")
    assert settings(home, SUPABASE_URL=URL, SUPABASE_SECRET_KEY=KEY) == (URL, KEY)
    assert settings(home, SUPABASE_SECRET_KEY=KEY) == ("https://b.co", KEY)
    assert settings(home) == ("https://b.co", "b")
    (home / ".env.local").unlink()
    assert settings(home) == ("https://c.co", "c")


def test_an_older_name_in_the_environment_comes_before_a_newer_one_in_a_file(
    home: Path,
) -> None:
    (home / ".env").write_text("SUPABASE_URL=https://c.co\nSUPABASE_SECRET_KEY=c")
    older = {"NEXT_PUBLIC_SUPABASE_URL": URL, "SUPABASE_SERVICE_ROLE_KEY": KEY}
    assert settings(home, **older) == (URL, KEY)


def test_the_newer_name_comes_first(home: Path) -> None:
    names = {
        "NEXT_PUBLIC_SUPABASE_URL": "https://old.co",
        "SUPABASE_URL": URL,
        "SUPABASE_SERVICE_ROLE_KEY": "eyJ.old",
        "SUPABASE_SECRET_KEY": KEY,
    }
    assert settings(home, **names) == (URL, KEY)


def test_a_setting_that_is_empty_counts_for_nothing(home: Path) -> None:
    (home / ".env").write_text(f"SUPABASE_URL={URL}\nSUPABASE_SECRET_KEY={KEY}\n")
    (home / ".env.local").write_text("SUPABASE_URL=\nSUPABASE_SECRET_KEY\n")
    assert settings(home, SUPABASE_URL="", SUPABASE_SECRET_KEY=" ") == (URL, KEY)


def test_the_env_local_of_a_next_js_app_works_as_it_is(home: Path) -> None:
    (home / ".env.local").write_bytes(
        b"\xef\xbb\xbf"  # as Windows begins a file in UTF-8
        b'NEXT_PUBLIC_SUPABASE_URL="https://abcdefgh.supabase.co"\r\n'
        b"NEXT_PUBLIC_SUPABASE_ANON_KEY=eyJ.anon\r\n"
        b"export SUPABASE_SERVICE_ROLE_KEY='eyJ.service'  # the legacy key\r\n"
    )
    assert settings(home) == (URL, "eyJ.service")


@pytest.mark.parametrize(
    "written",
    [
        f"{URL}/",
        f" {URL} ",
        f"{URL}/rest/v1",
        f"{URL}/rest/v1/",
        URL.replace("https", "HTTPS"),
    ],
)
def test_the_url_as_the_dashboard_shows_it(written: str, home: Path) -> None:
    assert settings(home, SUPABASE_URL=written, SUPABASE_SECRET_KEY=KEY)[0] == URL


def test_odd_but_visible_letters_are_fine(home: Path) -> None:
    url, key = "https://a-b_c.co/~x", "sb_secret_!~{|}+/="
    assert settings(home, SUPABASE_URL=url, SUPABASE_SECRET_KEY=key) == (url, key)


def test_a_url_with_a_path_keeps_it(home: Path) -> None:
    url = "https://example.com:8443/supabase"
    assert settings(home, SUPABASE_URL=url, SUPABASE_SECRET_KEY=KEY)[0] == url


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://abcdefgh.supabase.co", True),
        ("http://192.168.0.7:8000", True),
        ("http://localhost:54321", False),
        ("http://127.0.0.1:54321", False),
        ("http://[::1]:54321", False),
        ("https://abcdefgh.supabase.co", False),
    ],
)
def test_plain_http_to_another_machine_is_warned_of(
    url: str, warned: bool, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings(home, SUPABASE_URL=url, SUPABASE_SECRET_KEY=KEY) == (url, KEY)
    warning = capsys.readouterr().err
    assert warning.startswith("Warning: SUPABASE_URL is plain http") == warned
    assert bool(warning) == warned


def test_the_files_stand_beside_the_script() -> None:
    import importlib.util

    path = ROOT / "extract_training_data.py"
    spec = importlib.util.spec_from_file_location("another_copy", path)
    assert spec
    assert spec.loader
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert copy.HERE == ROOT


def test_the_example_holds_the_settings_and_no_values(home: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    (home / ".env").write_text(example)
    with pytest.raises(script.Failure, match="SUPABASE_URL and SUPABASE_SECRET_KEY"):
        settings(home)
    filled = example.replace("SUPABASE_URL=\n", f"SUPABASE_URL={URL}\n")
    filled = filled.replace("SUPABASE_SECRET_KEY=\n", f"SUPABASE_SECRET_KEY={KEY}\n")
    (home / ".env").write_text(filled)
    assert settings(home) == (URL, KEY)


# --- The baseline


def test_the_shipped_baseline_has_the_real_figures() -> None:
    tiers = script.read_baseline(ROOT / "calibration-baseline.json")
    assert [
        (
            tier["tier"],
            tier["label"],
            tier["weighted_score_threshold"]["min"],
            tier["weighted_score_threshold"]["max"],
            tier["count"],
            tier["percentage"],
        )
        for tier in tiers
    ] == [
        (1, "Unlikely to perform", 0, 0.045752, 1829, 24.98),
        (2, "Below average", 0.045752, 0.095403, 1831, 25.01),
        (3, "Average", 0.095403, 0.159572, 1830, 25),
        (4, "Strong potential", 0.159572, 0.239726, 1098, 15),
        (5, "Viral potential", 0.239726, 226.166667, 733, 10.01),
    ]
    baseline = json.loads((ROOT / "calibration-baseline.json").read_text())
    assert baseline["generated_at"] == "2026-02-16"
    assert baseline["total_videos_analyzed"] == 7321 == sum(t["count"] for t in tiers)


def test_other_keys_and_another_order_do_not_matter(tmp_path: Path) -> None:
    baseline = json.loads((ROOT / "calibration-baseline.json").read_text())
    tiers = list(baseline["virality_tiers"])
    baseline["virality_tiers"].reverse()
    baseline["duration_analysis"] = {"optimal": [7, 15]}
    path = tmp_path / "larger.json"
    path.write_text("\ufeff" + json.dumps(baseline), encoding="utf-8")
    assert script.read_baseline(path) == tiers


def test_another_baseline_gives_other_tiers(
    serve: Callable[..., LocalSupabase], extract: Callable[..., int]
) -> None:
    tiers = [
        {"tier": tier, "weighted_score_threshold": {"min": low}}
        for tier, low in enumerate((0, 1000, 2000, 3000, 4000), 1)
    ]
    Path("mine.json").write_text(json.dumps({"virality_tiers": tiers}))
    assert extract(serve(50), "--baseline", "mine.json") == 0
    data = json.loads(Path("training-data.json").read_text())
    assert set(data["trainSet"]["labels"] + data["testSet"]["labels"]) == {1}
