"""What the learner has done: the file that keeps it, and the picture."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import platformdirs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labserver.course import progress
from labserver.course.progress import MOST_BROKEN, Progress, Record, State, location

CATALOGUE = {
    "00_start_here": [("00.1", "Push to a group"), ("00.2", "Who is <asking>?"), ("00.3", "Await & see")],
    "01_asgi_events": [("01.1", "Echo"), ("01.2", "Refuse")],
    "02_plain_django": [],
}

WRITER = """
import sys
from labserver.course.progress import State
state = State.load()
for _ in range(60):
    state.tried(sys.argv[1], False)
state.tried(sys.argv[1], True)
print("done", flush=True)
sys.stdin.read()
state.hinted(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The state's folder, not made yet; nothing here may look into the home of whoever runs the tests."""
    folder = tmp_path / "deep" / "state"
    monkeypatch.setenv("LABSERVER_STATE", str(folder))
    monkeypatch.setattr(progress, "_PAUSES", (0,))
    return folder


@pytest.fixture
def file(folder):
    """The state's file, in a folder that is there."""
    folder.mkdir(parents=True)
    return folder / "progress.json"


def restart(monkeypatch):
    """What a new kernel begins with: no memory."""
    monkeypatch.setattr(progress, "_memory", {})
    monkeypatch.setattr(progress, "_warned", set())


def record(**values):
    """The fields of a record, as they stand in the file."""
    return {"tries": 0, "hints": 0, "passed": False, "solution": False} | values


def source(version=1, resets=0, **exercises):
    """What a file holds, as bytes."""
    return json.dumps({"version": version, "resets": resets, "exercises": exercises}).encode()


def test_a_new_learner_has_done_nothing_and_has_no_file(folder, capfd):
    """Looking writes nothing and says nothing."""
    assert State.load().records() == {}
    assert State.load().record("00.1") == Record()
    assert not folder.exists() and capfd.readouterr() == ("", "")


def test_without_the_variable_the_file_is_in_the_users_data_folder(monkeypatch, tmp_path):
    """LABSERVER_STATE unset or empty means platformdirs' folder, which knows each system's custom."""
    monkeypatch.setattr(platformdirs, "user_data_dir", lambda name, appauthor: str(tmp_path / name / str(appauthor)))
    for change in (lambda: monkeypatch.setenv("LABSERVER_STATE", ""), lambda: monkeypatch.delenv("LABSERVER_STATE")):
        change()
        assert location() == tmp_path / "channels-lab" / "False" / "progress.json"


def test_the_variable_is_read_at_each_use(monkeypatch, tmp_path):
    """One state object follows LABSERVER_STATE, and what it knew of one folder stays out of the other."""
    state = State.load()
    state.tried("00.1", True)
    monkeypatch.setenv("LABSERVER_STATE", str(tmp_path / "other"))
    assert state.records() == {}
    state.hinted("00.2")
    assert set(json.loads((tmp_path / "other" / "progress.json").read_text())["exercises"]) == {"00.2"}


def test_the_variable_may_name_the_home_folder(monkeypatch, tmp_path):
    """A tilde in LABSERVER_STATE is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LABSERVER_STATE", "~/state")
    assert location() == tmp_path / "state" / "progress.json"


def test_what_was_done_is_there_in_the_next_kernel(monkeypatch):
    """Tries, hints, a pass and a shown solution outlive the process; a pass stays one after a wrong try."""
    state = State.load()
    assert state.tried("03.2", False) == Record(tries=1)
    assert [state.hinted("03.2"), state.hinted("03.2")] == [1, 2]
    state.tried("03.2", True)
    state.tried("03.2", False)
    assert state.revealed("03.2") == Record(tries=3, hints=2, passed=True, solution=True)
    state.tried("99.9", False)
    restart(monkeypatch)
    assert State.load().records() == {"03.2": Record(3, 2, True, True), "99.9": Record(tries=1)}


def test_the_file_holds_counts_and_marks_alone(folder):
    """Version, resets and four fields an exercise, in a standing order; nothing else is left in the folder."""
    State().tried("01.2", True)
    State().hinted("01.1")
    assert [each.name for each in folder.iterdir()] == ["progress.json"]
    kept = json.loads((folder / "progress.json").read_bytes())
    assert kept == json.loads(source(**{"01.1": record(hints=1), "01.2": record(tries=1, passed=True)}))
    assert list(kept["exercises"]) == ["01.1", "01.2"]


@pytest.mark.parametrize(
    ("target", "gone"),
    [("01.2", ("01.2",)), ("01", ("01.1", "01.2")), (None, ("00.1", "01.1", "01.2", "011.1")), ("7", ()), ("0", ())],
)
def test_an_exercise_a_lesson_or_everything_is_forgotten(monkeypatch, target, gone):
    """A reset forgets what it names, says what that was, and outlives the kernel."""
    ids = ("01.2", "00.1", "01.1", "011.1")
    state = State.load()
    for id in ids:
        state.tried(id, True)
    assert state.reset(target) == gone
    restart(monkeypatch)
    assert set(State.load().records()) == set(ids) - set(gone)


def test_another_kernels_news_is_merged(file):
    """Of each exercise the more that either kernel knows is kept."""
    state = State.load()
    state.tried("00.1", True)
    state.hinted("00.1")
    file.write_bytes(source(**{"00.1": record(tries=4, solution=True), "00.2": record(hints=1)}))
    assert state.tried("00.1", False) == Record(tries=5, hints=1, passed=True, solution=True)
    assert state.record("00.2") == Record(hints=1)


def test_another_kernels_reset_is_not_undone(file):
    """What this kernel remembers from before a reset elsewhere does not come back."""
    state = State.load()
    state.tried("00.1", True)
    file.write_bytes(source(resets=1))
    assert state.records() == {}
    state.tried("00.2", False)
    assert json.loads(file.read_bytes()) == json.loads(source(resets=1, **{"00.2": record(tries=1)}))


def test_a_reset_wins_over_a_kernel_that_has_not_seen_it(file):
    """A file that a slower kernel wrote over the reset is put right."""
    state = State.load()
    state.tried("00.1", True)
    before = file.read_bytes()
    state.reset()
    file.write_bytes(before)
    assert state.records() == {}


def test_two_processes_that_write_at_once_leave_a_valid_file(folder):
    """Whatever the race lost of one kernel's work is back with that kernel's next write."""
    ids = ("00.1", "00.2")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-W", "error", "-c", WRITER]
    writers = [subprocess.Popen([*command, id], **pipes, env={**os.environ}, text=True) for id in ids]
    assert [writer.stdout.readline() for writer in writers] == ["done\n", "done\n"]
    raced = json.loads((folder / "progress.json").read_bytes())
    assert raced["version"] == 1 and set(raced["exercises"]) <= set(ids)
    assert [writer.communicate(timeout=60) for writer in writers] == [("", ""), ("", "")]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [each.name for each in folder.iterdir()] == ["progress.json"]
    assert State.load().records() == {id: Record(tries=61, hints=1, passed=True) for id in ids}


BROKEN = [
    b"",
    source()[:-9],
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"null",
    b"{}",
    b'{"version": 1, "resets": 0, "exercises": []}',
    source(version=2),
    source(version=True),
    source(version=None, **{"00.1": record()}),
    source(resets=-1),
    source(resets=None),
    source(**{"00.1": record(tries="3")}),
    source(**{"00.1": record(tries=True)}),
    source(**{"00.1": record(hints=10**50)}),
    source(**{"00.1": record(passed=1)}),
    source(**{"00.1": record(name="?")}),
    source(**{"00.1": []}),
    json.dumps({**json.loads(source()), "more": 1}).encode(),
]


@pytest.mark.parametrize("raw", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_set_aside_and_said(file, capfd, raw):
    """Its bytes stand beside the state, one line on stderr names the place, and the next try is kept."""
    file.write_bytes(raw)
    state = State.load()
    (line,) = capfd.readouterr().err.splitlines()
    aside = file.with_name("progress.json.broken")
    assert line.startswith("channels-lab: progress.json is") and str(aside) in line
    assert aside.read_bytes() == raw and not file.exists()
    assert state.tried("00.1", True) == Record(tries=1, passed=True)
    assert json.loads(file.read_bytes())["exercises"] == {"00.1": record(tries=1, passed=True)}
    assert capfd.readouterr().err == ""


def test_what_can_be_read_of_a_broken_file_still_counts(file):
    """One wrong record does not cost the learner the others."""
    file.write_bytes(source(resets=3, **{"00.1": record(tries=2), "00.2": None}))
    assert State.load().records() == {"00.1": Record(tries=2)}
    State().reset("00.1")
    assert json.loads(file.read_bytes())["resets"] == 4


def test_a_file_that_an_editor_saved_is_read(file, capfd):
    """A byte order mark and other white space are no damage."""
    file.write_bytes(b"\xef\xbb\xbf" + source(**{"00.1": record(tries=2)}).replace(b" ", b"\r\n"))
    assert State.load().record("00.1") == Record(tries=2)
    assert capfd.readouterr().err == ""


def test_earlier_broken_files_are_never_overwritten(file, capfd):
    """They are numbered up to a bound; the one beyond it is left in place, and this process remembers."""
    for number in range(MOST_BROKEN + 1):
        file.write_bytes(f"broken {number}".encode())
        State.load()
    kept = {each.name: each.read_text() for each in file.parent.iterdir()}
    assert len(kept) == MOST_BROKEN + 1
    assert kept["progress.json.broken"] == "broken 0" and kept["progress.json.broken-2"] == "broken 1"
    assert kept["progress.json"] == f"broken {MOST_BROKEN}"
    assert "could not be set aside" in capfd.readouterr().err.splitlines()[-1]
    State().tried("00.1", True)
    assert State().record("00.1").passed and file.read_text() == f"broken {MOST_BROKEN}"
    assert capfd.readouterr().err == ""


@given(st.binary() | st.recursive(st.integers() | st.text() | st.booleans(), st.lists).map(json.dumps).map(str.encode))
@example(source(**{"\ud800": record()}))
@example(source(**{"00.1": record(tries=10**9)}))
@settings(max_examples=60, deadline=None)
def test_no_bytes_raise_and_none_are_lost(tmp_path_factory, raw):
    """Whatever the file holds, a check goes on, and the bytes are set aside or all that they say is in the new file."""
    with pytest.MonkeyPatch.context() as patch:
        file = tmp_path_factory.mktemp("state") / "progress.json"
        patch.setenv("LABSERVER_STATE", str(file.parent))
        file.write_bytes(raw)
        State.load().hinted("00.0")
        aside = file.with_name("progress.json.broken")
        now = json.loads(file.read_bytes())["exercises"]
        if aside.exists():
            assert aside.read_bytes() == raw
        else:
            assert now == {**json.loads(raw)["exercises"], "00.0": record(hints=1)}


def remembers(capfd, **before):
    """This process keeps the state, and says once that it cannot be kept for longer; returns the line."""
    state = State.load()
    state.tried("00.1", True)
    state.tried("00.2", False)
    assert state.hinted("00.2") == 1 and State.load().record("00.1") == Record(tries=1, passed=True)
    assert state.reset("00.1") == ("00.1",)
    assert State.load().records() == {"00.2": Record(tries=1, hints=1), **before}
    assert state.reset() == ("00.2", *before) and State.load().records() == {}
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"channels-lab: your progress cannot be kept in {location()} (")
    assert "LABSERVER_STATE" in line
    return line


def test_a_folder_that_is_a_file_does_not_break_a_check(folder, capfd):
    """Where no folder can be made, the state lasts as long as the process."""
    folder.parent.mkdir()
    folder.write_text("mine")
    remembers(capfd)
    assert folder.read_text() == "mine"


def test_a_folder_in_the_place_of_the_file_is_left_alone(file, capfd):
    """What somebody keeps in a folder named progress.json is not touched."""
    (file / "keep").mkdir(parents=True)
    remembers(capfd)
    assert [each.name for each in file.parent.rglob("*")] == ["progress.json", "keep"]


def refuse(*arguments, **options):
    """What the system answers in a folder that cannot be written."""
    raise PermissionError(13, "Permission denied")


def test_a_folder_that_cannot_be_made_does_not_break_a_check(monkeypatch, capfd):
    """Without the right to make the folder, the state lasts as long as the process."""
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "Permission denied" in remembers(capfd)


def test_a_file_that_cannot_be_replaced_is_kept_and_nothing_is_left_beside_it(file, monkeypatch, capfd):
    """A reset that could not be written holds in this process, though the file still says otherwise."""
    file.write_bytes(source(**{"00.3": record(tries=1)}))
    monkeypatch.setattr(os, "replace", refuse)
    remembers(capfd, **{"00.3": Record(tries=1)})
    assert file.read_bytes() == source(**{"00.3": record(tries=1)}) and list(file.parent.iterdir()) == [file]


def test_a_broken_file_that_cannot_be_moved_stays_as_it_is(file, monkeypatch, capfd):
    """It is not overwritten, and the name that was meant for it is free again."""
    file.write_bytes(b"broken")
    monkeypatch.setattr(os, "replace", refuse)
    assert "is not valid JSON and could not be set aside" in remembers(capfd)
    assert list(file.parent.iterdir()) == [file] and file.read_bytes() == b"broken"


def test_a_broken_file_in_a_folder_that_cannot_be_written_stays_as_it_is(file, monkeypatch, capfd):
    """Where no name can be taken for it, it stays where it is."""
    file.write_bytes(b"broken")
    monkeypatch.setattr(Path, "open", refuse_to_write(Path.open))
    assert "could not be set aside" in remembers(capfd)
    assert file.read_bytes() == b"broken"


def refuse_to_write(opened):
    """Path.open on a system where files can be read alone."""
    return lambda path, mode="r", *rest, **options: (refuse if "x" in mode else opened)(path, mode, *rest, **options)


def test_a_broken_file_that_another_kernel_has_just_moved_is_no_trouble(file, monkeypatch, capfd):
    """The slower kernel says nothing, leaves no empty file behind, and keeps its own work."""
    file.write_bytes(b"broken")
    replace = os.replace

    def late(start, end):
        monkeypatch.setattr(os, "replace", replace)
        os.unlink(start)
        replace(start, end)

    monkeypatch.setattr(os, "replace", late)
    State().tried("00.1", True)
    assert list(file.parent.iterdir()) == [file] and json.loads(file.read_bytes())["exercises"]
    assert capfd.readouterr().err == ""


def test_a_file_that_somebody_reads_just_now_is_tried_again(file, monkeypatch, capfd):
    """Windows refuses to replace a file that is open; a moment later it does not."""
    replace, calls = os.replace, []

    def busy(start, end):
        calls.append(start)
        (refuse if len(calls) == 1 else replace)(start, end)

    monkeypatch.setattr(os, "replace", busy)
    State().tried("00.1", True)
    assert json.loads(file.read_bytes())["exercises"] and len(calls) == 2
    assert capfd.readouterr().err == ""


def test_a_stream_that_an_answer_closed_does_not_break_a_check(file, monkeypatch, tmp_path):
    """Where nothing can be said, the try still counts."""
    file.write_bytes(b"broken")
    with (tmp_path / "closed").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
    assert State().tried("00.1", True).passed


def some_progress():
    """One passed, one tried, one whose hint was looked at, two not begun, and one that no lesson has."""
    state = State.load()
    state.tried("00.1", True)
    state.tried("00.2", False)
    state.hinted("01.1")
    state.tried("77.7", True)
    return Progress(CATALOGUE, state)


def test_the_text_has_a_line_a_lesson_and_says_what_is_next():
    """A mark an exercise, a count a lesson, the total, and the first exercise that is not passed."""
    assert str(some_progress()).splitlines() == [
        "00_start_here   ✓○·  1 of 3",
        "01_asgi_events  ○·   0 of 2",
        "1 of 5 passed; next: 00.2 Who is <asking>?",
    ]
    assert repr(some_progress()) == "<Progress: 1 of 5 passed>"


def test_progress_is_as_things_stood_when_it_was_made():
    """What is shown later in the notebook is what the cell meant."""
    shown = some_progress()
    State().reset()
    assert (shown.passed, shown.total, shown.next) == (1, 5, ("00.2", "Who is <asking>?"))


def test_a_learner_who_has_done_all_is_told():
    """There is no next exercise after the last."""
    state = State.load()
    state.tried("01.1", True)
    shown = Progress({"01_asgi_events": [("01.1", "Echo")]}, state)
    assert shown.next is None and str(shown).endswith("1 of 1 passed; nothing is left to do")


@pytest.mark.parametrize("catalogue", [{}, {"00_start_here": []}])
def test_an_empty_catalogue_says_what_to_do(catalogue):
    """Text and picture hold one helpful line."""
    shown = Progress(catalogue, State.load())
    assert str(shown) == progress.EMPTY
    assert progress.EMPTY in shown._repr_mimebundle_()["image/svg+xml"]


def test_the_picture_is_the_same_bytes_every_time():
    """A second look at the same progress gives the same bundle."""
    first = some_progress()._repr_mimebundle_()
    assert Progress(CATALOGUE, State.load())._repr_mimebundle_() == first


def test_the_picture_can_be_read_without_colour_and_without_eyes():
    """Well-formed, not wider than a notebook, with role, title and description; each exercise has sign, rim and id."""
    bundle = some_progress()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/svg+xml"}
    root = ElementTree.fromstring(bundle["image/svg+xml"])
    name = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img" and int(root.get("width")) <= 820
    title, told = root.find(f"{name}title"), root.find(f"{name}desc")
    assert root.get("aria-labelledby").split() == [title.get("id"), told.get("id")]
    assert "00_start_here: 00.1 passed, 00.2 begun, 00.3 not begun." in told.text and "<asking>" in told.text
    legend = ["passed", "begun", "ahead"]
    lessons = ["passed", "begun", "ahead", "begun", "ahead"]
    assert [each.get("class") for each in root.iter(f"{name}path")] == legend + lessons
    words = [each.text for each in root.iter(f"{name}text")]
    assert {"00.1", "00.2", "00.3", "01.1", "01.2", "1 of 3", "0 of 2"} <= set(words)
    assert "(prefers-color-scheme:dark)" in bundle["image/svg+xml"]


def test_a_long_lesson_stays_within_the_picture():
    """Where there is no room for the ids, the signs remain."""
    shown = Progress({"05_" + "groups" * 9: [(f"05.{i}", "?") for i in range(60)]}, State.load())
    root = ElementTree.fromstring(shown._repr_mimebundle_()["image/svg+xml"])
    name = "{http://www.w3.org/2000/svg}"
    assert max(float(each.get("x")) + float(each.get("width")) for each in root.iter(f"{name}rect")) <= 820
    assert len(list(root.iter(f"{name}path"))) == 63 and "05.1" not in [each.text for each in root.iter(f"{name}text")]
