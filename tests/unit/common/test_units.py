import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.common import units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("1k", 1024),
        ("1KiB", 1024),
        ("8G", 8 * 1024**3),
        ("8gib", 8 * 1024**3),
        (" 2 TiB ", 2 * 1024**4),
        ("1.5MiB", 3 * 512 * 1024),
        ("0.25k", 256),
        ("1.5M", 1572864),
        ("16T", units.MAX_VOLUME_BYTES),
    ],
)
def test_a_size_in_words_is_read(text, size):
    assert units.parse_size(text) == size


NO_SIZES = ["", " ", "G", "-1", "+1", "1e3", "1 2", "1GB", "1P", "1.G", ".5G", "0x10"]
NO_SIZES += ["1.1234567G", "\u0661G", "9" * 21]


@pytest.mark.parametrize("text", NO_SIZES)
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is not a size; write it like 512MiB"):
        units.parse_size(text)


@pytest.mark.parametrize("text", ["0.5", "1.3k", "0.0001K", "1.000001b"])
def test_a_part_of_a_byte_is_refused(text):
    with pytest.raises(ValueError, match="not a whole number of bytes"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1025, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1 MiB"),
        (5 * 1024**3 + 1024**2, "5.0 GiB"),
        (3 * 1024**4, "3 TiB"),
        (5000 * 1024**4, "5000 TiB"),
        (-2048, "-2 KiB"),
    ],
)
def test_a_size_is_written_for_people(size, text):
    assert units.format_size(size) == text


@given(st.integers(0, 1023), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_a_round_size_survives_being_written_and_read(count, unit):
    size = units.parse_size(f"{count}{unit}")
    assert units.parse_size(units.format_size(size)) == size
