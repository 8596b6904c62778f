import zipfile

import pytest
import requests

from deploy import jars
from deploy.jars import JarError, is_readable


def make_jar(path, payload=b"x" * 1000):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a/B.class", payload)
    return path


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(jars, "_repository", lambda: tmp_path)
    return tmp_path


def test_a_whole_jar_is_readable(tmp_path):
    assert is_readable(make_jar(tmp_path / "a.jar"), deep=True)


@pytest.mark.parametrize("keep", [0, 1, 500, 1100])
def test_a_partial_download_is_not_readable(tmp_path, keep):
    jar = make_jar(tmp_path / "a.jar")
    jar.write_bytes(jar.read_bytes()[:keep])
    assert not is_readable(jar)


def test_a_flipped_byte_shows_only_when_every_byte_is_read(tmp_path):
    jar = make_jar(tmp_path / "a.jar")
    raw = bytearray(jar.read_bytes())
    raw[500] ^= 1
    jar.write_bytes(raw)
    assert is_readable(jar)
    assert not is_readable(jar, deep=True)
    assert jars.remove_damaged([jar]) == [jar]
    assert not jar.exists()


def test_a_damaged_jar_is_downloaded_again(repository, monkeypatch):
    jar = repository / "a.jar"
    jar.write_bytes(b"half")

    def resolve(context):
        if not jar.exists():
            if context.offline:
                raise RuntimeError("not here")
            make_jar(jar)
        return [jar]

    monkeypatch.setattr(jars, "_resolve", resolve)
    said = []
    assert jars.classpath(said.append) == [jar]
    assert said[0] == "a.jar is damaged and is downloaded again"
    assert "downloading" in said[1]


def test_a_jar_that_stays_damaged_is_named_with_its_folder(repository, monkeypatch):
    jar = repository / "a.jar"

    def resolve(context):
        jar.write_bytes(b"half")
        return [jar]

    monkeypatch.setattr(jars, "_resolve", resolve)
    with pytest.raises(JarError, match=f"remove {repository}"):
        jars.classpath(lambda _: None)


def test_without_a_network_one_sentence_says_what_to_do(repository, monkeypatch):
    def resolve(context):
        raise RuntimeError("not here") if context.offline else requests.ConnectionError("nowhere")

    monkeypatch.setattr(jars, "_resolve", resolve)
    with pytest.raises(JarError, match=r"cannot be downloaded.*check the network.*FRESHLOOP_BROKERS"):
        jars.classpath(lambda _: None)


def test_a_damaged_pom_is_named_by_its_folder(repository, monkeypatch):
    (repository / "some").mkdir()
    (repository / "some" / "a.pom").write_text("<project>")
    monkeypatch.setattr(jars, "_resolve", lambda context: jars.ElementTree.fromstring("<project>"))
    with pytest.raises(JarError, match="some is damaged; remove that folder"):
        jars.classpath(lambda _: None)
