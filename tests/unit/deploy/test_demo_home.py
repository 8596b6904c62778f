import pytest

from deploy import demo_home
from deploy.demo_home import demo_cluster
from streams.config import ConfigError


def test_without_a_demo_a_sentence_says_what_to_do(make_settings):
    with pytest.raises(ConfigError, match="freshloop demo"), demo_cluster(make_settings(), print):
        pass


def test_an_ended_demo_gets_its_broker_for_the_duration(make_settings, monkeypatch):
    settings, done = make_settings(), []
    (settings.data_dir / "demo" / "broker").mkdir(parents=True)
    monkeypatch.setattr(demo_home.broker, "up", lambda home, say: done.append(("up", home.data_dir)))
    monkeypatch.setattr(demo_home.broker, "down", lambda home: done.append(("down", home.data_dir)))
    with demo_cluster(settings, lambda _: None) as home:
        assert done == [("up", settings.data_dir / "demo")]
        assert not home.brokers
    assert done[1] == ("down", settings.data_dir / "demo")


@pytest.mark.parametrize(("there", "prefix"), [([], "demo-"), (["demo-recommendations"], "")])
def test_on_a_running_broker_its_own_topics_are_looked_for_first(make_settings, monkeypatch, there, prefix):
    monkeypatch.setattr(demo_home, "answering_cluster", lambda settings: "id")
    monkeypatch.setattr(demo_home, "check_topics", lambda settings: [f"topic {name} is missing" for name in there])
    with demo_cluster(make_settings(topic_prefix=""), print) as home:
        assert home.topic_prefix == prefix
