"""Zips from strangers: whose notebook each is, and that nothing in one reaches beyond the class's folder."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import tracemalloc
import zipfile
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from coursekit import archive as archive_module
from coursekit.archive import open_archive
from coursekit.cli import app
from coursekit.collect import Note, collect, read_roster
from coursekit.errors import CourseError
from coursekit.layouts import guess_layout, plain_folder_name, reader_of

from .conftest import NAME

FILE = f"{NAME}.ipynb"
GOOD = f"good/{FILE}"


def info(name, **fields):
    made = zipfile.ZipInfo(name, (2026, 3, 1, 12, 0, 0))
    made.compress_type = zipfile.ZIP_DEFLATED
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def make_zip(path, entries):
    """Entries: name or ZipInfo, and its bytes."""
    with zipfile.ZipFile(path, "w") as made:
        for name, data in entries:
            made.writestr(name if isinstance(name, zipfile.ZipInfo) else info(name), data)
    return path


def submitted(class_dir):
    """Every notebook in the class: student → content."""
    return {p.parents[1].name: p.read_bytes() for p in (class_dir / "submitted").rglob("*.ipynb")}


def kinds(found):
    return {note.entry: note.kind for note in found.notes}


def reason_of(found, entry):
    return next(note.reason for note in found.notes if note.entry == entry)


@pytest.fixture
def take(course, tmp_path):
    """Collect entries into the folder `class`; the rest of the disk is compared before and after."""

    def run(entries, **options):
        path = make_zip(tmp_path / "in.zip", entries)
        before = everything(tmp_path)
        found = collect(course, tmp_path / "class", NAME, path, **options)
        after = everything(tmp_path)
        inside = (tmp_path / "class" / "submitted").as_posix()
        assert {p for p in after if not p.startswith(inside) and not inside.startswith(p)} == {
            p for p in before if not p.startswith(inside) and not inside.startswith(p)
        }
        return found

    return run


def everything(root):
    return {p.as_posix() for p in root.rglob("*")}


# ---- whose is it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "name", "student", "original", "late"),
    [
        ("canvas", f"frellsenjes_1234_98765_{FILE}", "1234", FILE, False),
        ("canvas", f"frellsenjes_LATE_1234_98765_{FILE}", "1234", FILE, True),
        ("canvas", "ångströmöå_7_8_my_1_2_notebook.ipynb", "7", "my_1_2_notebook.ipynb", False),
        ("canvas", "oneill_3rd_7_8_x.ipynb", "7", "x.ipynb", False),
        ("canvas", f"anon_x8Wk2_98765_{FILE}", "anon_x8Wk2", FILE, False),
        ("canvas", f"LATE_anon_x8Wk2_98765_{FILE}", "anon_x8Wk2", FILE, True),
        ("moodle", f"Jes Frellsen_4711_assignsubmission_file_/{FILE}", "4711", FILE, False),
        ("moodle", f"Jes Frellsen_4711_assignsubmission_file/{FILE}", "4711", FILE, False),
        ("moodle", f"out/Jes O'Neill 2_4711_assignsubmission_file_/a/{FILE}", "4711", FILE, False),
        ("moodle", f"Jes Frellsen_4711_assignsubmission_file_{FILE}", "4711", FILE, False),
        ("moodle", f"Participant_12_assignsubmission_file_/{FILE}", "12", FILE, False),
        ("folders", f"s1234/{FILE}", "s1234", FILE, False),
        ("folders", f"s1234/deep/{FILE}", "s1234", FILE, False),
    ],
)
def test_names_tell_whose_a_notebook_is(layout, name, student, original, late):
    handed = reader_of(layout)(name)
    assert (handed.student, handed.original, handed.late) == (student, original, late)
    assert guess_layout([name]) == layout


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("canvas", FILE),
        ("canvas", "name_12_x.ipynb"),
        ("moodle", f"s1/{FILE}"),
        ("moodle", "A_assignsubmission_file_/x.ipynb"),
        ("folders", FILE),
    ],
)
def test_a_name_that_does_not_follow_the_layout_tells_nobody(layout, name):
    assert reader_of(layout)(name) is None


@pytest.mark.parametrize(
    ("layout", "entries", "students"),
    [
        (
            "canvas",
            [f"a_1_10_{FILE}", f"b_LATE_2_11_{FILE}", f"c_3_12_{NAME}-2.ipynb", "d_4_13_text.html"],
            {"1", "2", "3"},
        ),
        (
            "moodle",
            [
                f"A B_1_assignsubmission_file_/{FILE}",
                f"C_2_assignsubmission_file_/sub/{FILE}",
                "A B_1_assignsubmission_onlinetext/onlinetext.html",
            ],
            {"1", "2"},
        ),
        ("folders", [f"s1/{FILE}", f"s2/hw/{FILE}"], {"s1", "s2"}),
        ("folders", [f"submitted/s1/{NAME}/{FILE}", f"submitted/s2/{NAME}/{FILE}"], {"s1", "s2"}),
        ("folders", [f"in/s1/{FILE}", f"in/s2/{FILE}"], {"s1", "s2"}),  # the folder that was zipped
        ("folders", [f"s1\\{FILE}", f"s2\\hw\\{FILE}"], {"s1", "s2"}),  # a zip of an old Windows program
    ],
)
def test_each_layout_is_recognized_and_collected(take, tmp_path, layout, entries, students):
    found = take([(name, name) for name in entries])
    assert found.layout == layout
    assert submitted(tmp_path / "class").keys() == students
    assert found.number("refused") == 0


def test_names_in_utf8_that_do_not_say_so_are_read_as_such(take, tmp_path):
    name = "Åse/" + FILE
    path = make_zip(tmp_path / "plain.zip", [("XXse/" + FILE, b"{}")])
    # The two bytes of Å in place of XX, without the flag that says UTF-8.
    path.write_bytes(path.read_bytes().replace(b"XXse/", "Åse/".encode()))
    with open_archive(path) as entries:
        assert [e.name for e in entries] == [name]


def test_ids_are_normalized_so_that_one_student_is_one_folder(take, tmp_path):
    found = take([("A\u030ase/" + FILE, b"1"), ("Åse/" + FILE, b"2")])
    assert submitted(tmp_path / "class") == {"Åse": b"2"}
    assert found.number("older") == 1


# ---- several notebooks of a student ---------------------------------------------------------------------------


def test_canvas_resubmissions_are_ordered_by_their_suffix_then_their_number(take, tmp_path):
    found = take(
        [
            (f"a_1_30_{NAME}-1.ipynb", b"second"),
            (f"a_1_20_{NAME}-10.ipynb", b"eleventh"),
            (f"a_1_10_{FILE}", b"first"),
            (f"b_2_11_{FILE}", b"old"),
            (f"b_2_12_{FILE}", b"new"),
        ]
    )
    assert submitted(tmp_path / "class") == {"1": b"eleventh", "2": b"new"}
    assert reason_of(found, f"a_1_10_{FILE}") == f"'a_1_20_{NAME}-10.ipynb' was taken"
    assert found.number("older") == 3


def test_elsewhere_the_archive_s_time_decides(take, tmp_path):
    new = info(f"s1/a/{FILE}", date_time=(2026, 3, 2, 0, 0, 0))
    take([(new, b"new"), (f"s1/b/{FILE}", b"old")])
    assert submitted(tmp_path / "class") == {"s1": b"new"}


def test_a_notebook_called_as_the_assignment_comes_first(take, tmp_path):
    scratch = info("s1/scratch.ipynb", date_time=(2026, 3, 2, 0, 0, 0))
    take([(f"s1/{NAME} (1).ipynb", b"answer"), (scratch, b"scratch"), ("s2/other.ipynb", b"renamed")])
    assert submitted(tmp_path / "class") == {"s1": b"answer", "s2": b"renamed"}


def test_notebooks_of_other_assignments_stay_out(course, take, tmp_path):
    course.text_source("02_cubes").write_text("# %%\n", encoding="utf-8")
    found = take([("s1/02_cubes.ipynb", b"other"), ("s2/02_cubes/answer.ipynb", b"other"), (GOOD, b"mine")])
    assert submitted(tmp_path / "class") == {"good": b"mine"}
    assert found.number("ignored") == 2


def test_when_the_latest_cannot_be_read_the_one_before_is_taken(course, tmp_path):
    new = info(f"s1/new/{FILE}", date_time=(2026, 3, 2, 0, 0, 0), compress_type=zipfile.ZIP_STORED)
    path = make_zip(tmp_path / "in.zip", [(new, b"newest"), (f"s1/old/{FILE}", b"old")])
    path.write_bytes(path.read_bytes().replace(b"newest", b"nEwest"))
    found = collect(course, tmp_path / "class", NAME, path)
    assert submitted(tmp_path / "class") == {"s1": b"old"}
    assert "is damaged (Bad CRC-32" in reason_of(found, f"s1/new/{FILE}")


# ---- what is in the class already -----------------------------------------------------------------------------


def test_what_was_collected_before_is_kept_unless_it_is_to_be_replaced(take, tmp_path):
    take([(GOOD, b"first")])
    assert kinds(take([(GOOD, b"first")])) == {GOOD: "unchanged"}
    assert kinds(take([(GOOD, b"second")])) == {GOOD: "kept"}
    assert submitted(tmp_path / "class") == {"good": b"first"}
    assert kinds(take([(GOOD, b"second")], replace=True)) == {GOOD: "replaced"}
    assert submitted(tmp_path / "class") == {"good": b"second"}


def test_a_folder_says_when_it_was_handed_in(take, tmp_path, monkeypatch):
    exact = info(f"exact/{FILE}", extra=struct.pack("<HHBi", 0x5455, 5, 1, 1_772_000_001))
    local = info(f"local/{FILE}", date_time=(2026, 3, 1, 12, 0, 2))
    none = info(f"none/{FILE}", date_time=(1980, 1, 1, 0, 0, 0))
    take([(exact, b"{}"), (local, b"{}"), (none, b"{}")])
    stamps = {p.parents[1].name: p.read_text() for p in (tmp_path / "class").rglob("timestamp.txt")}
    noon = datetime(2026, 3, 1, 12, 0, 2).astimezone(UTC)
    assert stamps == {
        "exact": f"{datetime.fromtimestamp(1_772_000_001, UTC):%Y-%m-%d %H:%M:%S} UTC\n",
        "local": f"{noon:%Y-%m-%d %H:%M:%S} UTC\n",
    }


def test_the_time_of_a_download_is_no_time_of_handing_in(take, tmp_path):
    take([(f"a_1_10_{FILE}", b"{}")])
    assert submitted(tmp_path / "class") == {"1": b"{}"}
    assert not list((tmp_path / "class").rglob("timestamp.txt"))


def test_an_old_time_does_not_stay_beside_a_new_notebook(take, tmp_path):
    take([(f"1/{FILE}", b"old")])
    assert list((tmp_path / "class").rglob("timestamp.txt"))
    take([(f"a_1_10_{FILE}", b"new")], replace=True)
    assert not list((tmp_path / "class").rglob("timestamp.txt"))


@pytest.mark.parametrize("level", ["submitted", "student", "assignment"])
def test_a_link_in_the_class_is_not_written_through(course, take, tmp_path, level):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "class" / "submitted"
    if level != "submitted":
        link = link / "good"
    if level == "assignment":
        link = link / NAME
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    found = take([(GOOD, b"x")], replace=True)
    assert "no folder but a link" in reason_of(found, GOOD)
    assert list(elsewhere.iterdir()) == []


# ---- bad entries ----------------------------------------------------------------------------------------------


def unix(mode, name=f"bad/{FILE}"):
    return info(name, create_system=3, external_attr=mode << 16)


def encrypted(data):
    """The zip with the flag `encrypted` in its last entry's headers."""
    data = bytearray(data)
    local, central = data.rindex(b"PK\3\4"), data.rindex(b"PK\1\2")
    data[local + 6] |= 1
    data[central + 8] |= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (f"../../{FILE}", "climbs out"),
        (f"../../submitted/evil/{NAME}/{FILE}", "climbs out"),
        (f"a/../../{FILE}", "climbs out"),
        (f"..\\..\\{FILE}", "climbs out"),
        (f"/etc/{FILE}", "absolute"),
        (f"C:\\students\\{FILE}", "absolute"),
        (f"C:{FILE}", "absolute"),
        (f"\\\\server\\share\\{FILE}", "absolute"),
        (FILE, "does not tell whose it is"),
        (f"./{FILE}", "begins with '.'"),
        (f".ssh/{FILE}", "begins with '.'"),
        (f" /{FILE}", "is empty"),
        (f"CON/{FILE}", "reserves for a device"),
        (f"a*/{FILE}", "holds '*'"),
        (f"{'é' * 128}/{FILE}", "longer than 255 bytes"),
        (f"a\x1b[2J/{FILE}", "holds '['"),
        (f"a\x07b/{FILE}", "control character"),
        (unix(stat.S_IFLNK | 0o777), "symbolic link"),
        (unix(stat.S_IFCHR | 0o666), "device, pipe or socket"),
        (unix(stat.S_IFIFO | 0o666), "device, pipe or socket"),
    ],
    ids=repr,
)
def test_a_bad_entry_is_refused_with_a_reason_and_the_others_are_collected(take, tmp_path, entry, reason):
    name = entry.filename if isinstance(entry, zipfile.ZipInfo) else entry
    found = take([(GOOD, b"good"), (entry, b"/etc/passwd"), (f"last/{FILE}", b"last")], layout="folders")
    assert submitted(tmp_path / "class") == {"good": b"good", "last": b"last"}
    refused = [note for note in found.notes if note.kind == "refused"]
    assert [n.entry for n in refused] == [name.replace("\\", "/")]
    assert reason in refused[0].reason
    assert str(refused[0]).isprintable()


def test_a_name_with_a_nul_is_refused(course, tmp_path):
    path = make_zip(tmp_path / "in.zip", [(GOOD, b"good"), (f"evilX.txt/{FILE}", b"bad")])
    path.write_bytes(path.read_bytes().replace(b"evilX", b"evil\0"))
    found = collect(course, tmp_path / "class", NAME, path)
    assert submitted(tmp_path / "class") == {"good": b"good"}
    assert [n.reason for n in found.notes if n.kind == "refused"] == ["its name holds a NUL"]


def test_an_encrypted_entry_is_refused(course, tmp_path):
    path = make_zip(tmp_path / "in.zip", [(GOOD, b"good"), (f"bad/{FILE}", b"secret")])
    path.write_bytes(encrypted(path.read_bytes()))
    found = collect(course, tmp_path / "class", NAME, path)
    assert submitted(tmp_path / "class") == {"good": b"good"}
    assert reason_of(found, f"bad/{FILE}") == "is encrypted"


def test_a_zip_in_the_zip_and_other_files_are_left_alone_and_named(take, tmp_path):
    inner = io.BytesIO()
    make_zip(inner, [(GOOD, b"inner")])
    found = take([("s1/all.zip", inner.getvalue()), ("s1/notes.txt", b""), ("__MACOSX/s1/._x.ipynb", b"")])
    assert [str(note) for note in found.notes] == [
        "ignored: s1/all.zip: is a zip in the zip, which is not opened",
        "ignored: s1/notes.txt: is no notebook",
    ]
    assert not (tmp_path / "class").exists()


def test_bombs_are_refused_before_they_are_unpacked(take, tmp_path):
    found = take(
        [(GOOD, b"good"), (f"ratio/{FILE}", b"\0" * 15_000_000), (f"large/{FILE}", b"\0" * 25_000_000)]
    )
    assert submitted(tmp_path / "class") == {"good": b"good"}
    assert "times its size, like a zip bomb" in reason_of(found, f"ratio/{FILE}")
    assert reason_of(found, f"large/{FILE}") == "has 25 MB, more than 20 MB"


def test_a_large_notebook_with_repetitive_outputs_is_no_bomb(take, tmp_path):
    line = b"".join(b"%d %.6f\n" % (i, random.Random(i).random()) for i in range(2000))
    data = line * 400
    found = take([(GOOD, data)])
    assert found.number("collected") == 1
    assert submitted(tmp_path / "class") == {"good": data}


@pytest.mark.parametrize("claimed", [10, 1_000_000])
def test_a_header_that_lies_about_the_size_is_found_out(course, tmp_path, claimed):
    path = make_zip(tmp_path / "in.zip", [(GOOD, b"good"), (f"liar/{FILE}", os.urandom(100) * 250_000)])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\1\2") + 24, claimed)
    path.write_bytes(data)
    found = collect(course, tmp_path / "class", NAME, path)
    assert submitted(tmp_path / "class") == {"good": b"good"}
    assert found.number("refused") == 1


def test_an_entry_of_a_gigabyte_costs_no_memory(course, tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        made.writestr(GOOD, b"good")
    size, name = 1_000_000_000, f"huge/{FILE}".encode()
    data = path.read_bytes()
    directory = data.index(b"PK\1\2")
    end = data.index(b"PK\5\6")
    header = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x5C61, 0, size, size, len(name), 0)
    central = b"PK\1\2" + struct.pack("<H", 20) + header + struct.pack("<HHHII", 0, 0, 0, 0, directory) + name
    with path.open("wb") as file:  # sparse: the gigabyte is a hole
        file.write(data[:directory] + b"PK\3\4" + header + name)
        file.seek(size, os.SEEK_CUR)
        start = file.tell()
        file.write(data[directory:end] + central)
        length = file.tell() - start
        file.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 2, 2, length, start, 0))
    tracemalloc.start()
    try:
        found = collect(course, tmp_path / "class", NAME, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert submitted(tmp_path / "class") == {"good": b"good"}
    assert reason_of(found, f"huge/{FILE}") == "has 1000 MB, more than 20 MB"
    assert peak < 20_000_000


def test_the_archive_as_a_whole_may_unpack_to_so_much(take, tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 2500)
    found = take([(f"s{i}/{FILE}", os.urandom(1000)) for i in range(4)])
    assert submitted(tmp_path / "class").keys() == {"s0", "s1"}
    assert found.number("refused") == 2


def test_the_number_of_entries_is_capped(course, tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MAX_ENTRIES", 3)
    path = make_zip(tmp_path / "in.zip", [(f"s{i}/{FILE}", b"") for i in range(4)])
    with pytest.raises(CourseError, match="expected at most 3 entries, got 4"):
        collect(course, tmp_path / "class", NAME, path)


def test_a_directory_too_large_for_memory_is_not_read(course, tmp_path, monkeypatch):
    path = make_zip(tmp_path / "in.zip", [(f"s{i}/{FILE}", b"") for i in range(2000)])
    monkeypatch.setattr(archive_module, "MAX_DIRECTORY_BYTES", 100_000)
    with pytest.raises(CourseError, match="its directory is larger than"):
        collect(course, tmp_path / "class", NAME, path)


# ---- bad archives ---------------------------------------------------------------------------------------------


def test_a_damaged_entry_is_refused_and_the_others_are_collected(course, tmp_path):
    path = make_zip(tmp_path / "in.zip", [(f"bad/{FILE}", b"answer" * 50), (GOOD, b"good")])
    data = bytearray(path.read_bytes())
    data[30 + len(f"bad/{FILE}") + 3] ^= 0xFF
    path.write_bytes(data)
    found = collect(course, tmp_path / "class", NAME, path)
    assert submitted(tmp_path / "class") == {"good": b"good"}
    assert "is damaged" in reason_of(found, f"bad/{FILE}")


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_truncated_zip_is_an_error(course, tmp_path, cut):
    path = make_zip(tmp_path / "in.zip", [(f"s{i}/{FILE}", os.urandom(300)) for i in range(3)])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(CourseError, match=r"in\.zip: is a zip that is cut short or damaged"):
        collect(course, tmp_path / "class", NAME, path)
    assert not (tmp_path / "class").exists()


@pytest.mark.parametrize("seed", range(20))
def test_damage_anywhere_is_an_error_or_refused_entries(course, tmp_path, seed):
    contents = [(f"s{i}/{FILE}", os.urandom(30) + b"answer" * 20) for i in range(3)]
    whole = make_zip(tmp_path / "whole.zip", contents).read_bytes()
    rng = random.Random(seed)
    for attempt in range(20):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 4, 40))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path, class_dir = tmp_path / "in.zip", tmp_path / f"class{attempt}"
        path.write_bytes(data)
        try:
            collect(course, class_dir, NAME, path)
        except CourseError as error:
            assert str(path) in str(error)  # noqa: PT017
        # The checksum: what was taken is what was handed in.
        assert set(submitted(class_dir).values()) <= {content for _, content in contents}


@pytest.mark.parametrize("data", [b"", b"<html>log in</html>", b"PK", b"\0" * 1000])
def test_what_is_no_zip_is_an_error(course, tmp_path, data):
    path = tmp_path / "in.zip"
    path.write_bytes(data)
    with pytest.raises(CourseError, match=r"in\.zip: is no zip and no folder"):
        collect(course, tmp_path / "class", NAME, path)


def test_an_archive_that_is_not_there_is_an_error(course, tmp_path):
    with pytest.raises(CourseError, match="cannot be read: No such file"):
        collect(course, tmp_path / "class", NAME, tmp_path / "none.zip")


# ---- folders, rosters, the command ----------------------------------------------------------------------------


def test_a_folder_is_collected_without_following_links(course, tmp_path):
    inbox = tmp_path / "inbox"
    (inbox / "s1").mkdir(parents=True)
    (inbox / "s1" / FILE).write_bytes(b"answer")
    os.utime(inbox / "s1" / FILE, (1_772_000_001, 1_772_000_001))
    (inbox / "s2").mkdir()
    (inbox / "s2" / FILE).symlink_to("/etc/passwd")
    (inbox / "s3").symlink_to(inbox / "s1")
    (inbox / "s4").mkdir()
    os.mkfifo(inbox / "s4" / FILE)
    with (inbox / FILE).open("wb") as file:
        file.truncate(1_000_000_000)
    found = collect(course, tmp_path / "class", NAME, inbox)
    assert submitted(tmp_path / "class") == {"s1": b"answer"}
    assert kinds(found) == {
        f"s1/{FILE}": "collected",
        f"s2/{FILE}": "refused",
        "s3": "ignored",
        f"s4/{FILE}": "refused",
        FILE: "refused",
    }
    stamp = (tmp_path / "class" / "submitted" / "s1" / NAME / "timestamp.txt").read_text()
    assert stamp == f"{datetime.fromtimestamp(1_772_000_001, UTC):%Y-%m-%d %H:%M:%S} UTC\n"


@pytest.mark.parametrize(
    "text",
    [
        "student,lms_id\nanna,1\nbert,2\n",
        "\ufeffStudent,ID,SIS User ID,SIS Login ID\nPoints Possible,,,\nA,1,u1,anna\nB,2,bert,\n",
        "Identifier,Full name,ID number\nParticipant 1,A,anna\nTeilnehmer 2,B,bert\n",
    ],
)
def test_a_roster_says_who_an_id_is(take, tmp_path, text):
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8")
    roster = read_roster(path)
    assert roster == {"1": "anna", "2": "bert"}
    found = take([(f"x_{i}_9_{FILE}", b"%d" % i) for i in (1, 2, 3)], roster=roster)
    assert submitted(tmp_path / "class") == {"anna": b"1", "bert": b"2"}
    assert reason_of(found, f"x_3_9_{FILE}") == "the roster does not name '3'"


def test_a_roster_of_folders_has_their_names_whole(take, tmp_path):
    path = tmp_path / "roster.csv"
    path.write_text("student,lms_id\nanna,A\u030asa 7\n", encoding="utf-8")
    take([(f"Åsa 7/{FILE}", b"1")], roster=read_roster(path))
    assert submitted(tmp_path / "class") == {"anna": b"1"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,number\n", "expected columns"),
        ("", "expected columns"),
        ("student,lms_id\n,\n", "no row has both"),
        ("student,lms_id\na,1\nb,1\n", ":3: '1' or 'b' stands there twice"),
        ("student,lms_id\na,1\na,2\n", ":3: '2' or 'a' stands there twice"),
        ("student,lms_id\n../x,1\n", ":2: the student '../x' begins with '.'"),
    ],
)
def test_a_roster_that_does_not_say_is_an_error(tmp_path, text, reason):
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=reason.replace("(", r"\(")):
        read_roster(path)


@pytest.mark.parametrize("name", ["s2100", "Åse", "anna.b@uni.example", "x y", "学生", "a" * 255])
def test_plain_ids_are_taken_as_they_are(name):
    assert plain_folder_name(name) == name


def test_a_note_is_one_printable_line():
    text = str(Note("refused", "a\x1b[2J\n\u202eb" + "x" * 1000 + "/y.ipynb", "s1", "why"))
    assert text.isprintable()
    assert len(text) < 300


def test_the_command_says_what_it_did(course, tmp_path):
    path = make_zip(tmp_path / "in.zip", [(f"a_LATE_1_10_{FILE}", b"{}"), (f"b_2_11_{FILE}", b"{}")])
    arguments = ["collect", "01", str(path), "--course", str(tmp_path / "class")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"collected: a_LATE_1_10_{FILE} (1): late",
        f"{NAME}, layout canvas: 2 collected",
    ]
    make_zip(path, [(f"a_LATE_1_10_{FILE}", b"{ }")])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "kept: " in result.output
    result = CliRunner().invoke(app, [*arguments, "--layout", "blackboard"])
    assert result.exit_code == 2
    assert "expected a layout of auto, folders, canvas, moodle, got 'blackboard'" in result.output


def test_the_command_says_that_moodle_s_numbers_do_not_last(course, tmp_path):
    path = make_zip(tmp_path / "in.zip", [(f"A B_1_assignsubmission_file_/{FILE}", b"{}")])
    arguments = ["collect", "01", str(path), "--course", str(tmp_path / "class")]
    assert "Moodle numbers students anew" in CliRunner().invoke(app, arguments).output
    (tmp_path / "roster.csv").write_text("Identifier,Email address\nParticipant 1,a@uni.example\n")
    result = CliRunner().invoke(app, [*arguments, "--roster", str(tmp_path / "roster.csv")])
    assert result.exit_code == 0, result.output
    assert "anew" not in result.output
    assert submitted(tmp_path / "class").keys() == {"1", "a@uni.example"}
