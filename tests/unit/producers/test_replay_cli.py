from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from producers.replay import Result, Survey
from producers.replay_cli import parse_run, parse_speed
from streams.main import app
from tests.fakes import event
from tests.kuairand import exposure, video_row, write


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("10", 10.0), ("0.5", 0.5)])
def test_speeds(text, speed):
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "fast", "inf", "nan", ""])
def test_what_is_no_speed(text):
    with pytest.raises(typer.BadParameter):
        parse_speed(text)


@pytest.mark.parametrize("text", ["a b", "x/y", "r" * 65])
def test_what_is_no_name_of_a_run(text):
    with pytest.raises(typer.BadParameter):
        parse_run(text)


def test_a_new_run_has_a_name_of_its_own():
    assert parse_run("") != "" != parse_run("mine") == "mine"


def invoke(*arguments, env=None):
    return CliRunner().invoke(app, ["replay", *arguments], env=env)


def said(result):
    return result.output + str(result.exception)


def test_a_log_that_is_not_there_is_one_sentence(tmp_path):
    missing = said(invoke("kuairand", env={"FRESHLOOP_DATA": str(tmp_path / "none")}))
    assert f"{tmp_path}/none/kuairand (the folder that FRESHLOOP_DATA names) does not exist" in missing
    assert "does not exist" in said(invoke("kuairand", str(tmp_path / "none")))
    assert "is not a file" in said(invoke("interactions", str(tmp_path)))
    assert "needs a file" in said(invoke("interactions"))


def test_a_broker_that_is_not_there_is_one_sentence(tmp_path, make_settings):
    settings = make_settings()
    env = {"FRESHLOOP_BROKERS": settings.bootstrap}
    write(tmp_path, [exposure()], [video_row()])
    assert "no Kafka broker answers" in said(invoke("kuairand", str(tmp_path), env=env))


def test_bad_options_are_refused(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,time\n")
    assert invoke("interactions", str(log), "--delimiter", "::").exit_code == 2
    assert invoke("interactions", str(log), "--time-unit", "years").exit_code == 2
    assert invoke("parquet", str(log)).exit_code == 2


def test_a_survey_says_what_a_log_holds():
    survey = Survey.of([event(at=5), event(at=9), event(at=7)])
    assert (survey.events, survey.first_ms, survey.last_ms, survey.in_order) == (3, 5, 9, False)
    assert Survey.of([]).events == 0


def test_the_sentence_says_what_is_off():
    good = Result(
        run="r", events=9, applied=9, users=3, slates=9, users_with_slate=3, slates_short=0, feedback=9,
        feedback_duplicates=0, dead_letters=0, videos=4, damaged_lines=0, users_off=0, exactly_once=True,
        complete=True, seconds=1.0,
    )  # fmt: skip
    fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
    assert "every one of 9 events was applied exactly once" in good.sentence
    assert "a part of the videos" in Result(**(fields | {"slates_short": 2})).sentence
    off = Result(**(fields | {"applied": 8, "exactly_once": False, "users_off": 1}))
    assert "8 of 9 are confirmed" in off.sentence
    assert "go on with --run r" in Result(**(fields | {"complete": False})).sentence
