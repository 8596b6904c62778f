import pytest

from deploy import java


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("java.net.BindException: Address already in use", "run 'freshloop broker up' again"),
        ("Error occurred during initialization of VM\nToo small maximum heap", "FRESHLOOP_BROKER_HEAP"),
        ("java.io.IOException: No space left on device", "the disk is full"),
        ("KafkaException: Failed to acquire lock on file .lock in /x", "another broker uses its data"),
    ],
)
def test_a_known_cause_is_told_with_its_cure(tmp_path, said, cure):
    log = tmp_path / "kafka.log"
    log.write_text(f"old lines\n{said}\n\tat a.B.c\n")
    assert cure in java.why(log, [], 1)


def test_an_unknown_cause_is_quoted_and_the_log_named(tmp_path):
    log = tmp_path / "kafka.log"
    log.write_text("x WARN fine\nx ERROR kafka.Kafka - the moon is full\n\tat a.B.c\n")
    assert java.why(log, [], 1) == f"Java ended with code 1 (x ERROR kafka.Kafka - the moon is full); see {log}"


def test_without_a_log_the_code_is_told(tmp_path):
    log = tmp_path / "none"
    assert java.why(log, [], -9) == f"Java ended with code -9; see {log}"


def test_a_damaged_jar_explains_it_and_is_removed(tmp_path):
    jar = tmp_path / "a.jar"
    jar.write_bytes(b"half")
    assert "a.jar was damaged and has been removed" in java.why(tmp_path / "none", [jar], 1)
    assert not jar.exists()


def test_the_heap_is_that_of_the_settings(make_settings, tmp_path):
    found = java.command(make_settings(broker_heap="1g"), [tmp_path / "a.jar", tmp_path / "b.jar"], "kafka.Kafka", "p")
    assert "-Xmx1g" in found
    assert found[-4:] == ["-cp", f"{tmp_path}/a.jar:{tmp_path}/b.jar", "kafka.Kafka", "p"]
