"""One kernel, from start to end."""

import os
import sys
from pathlib import Path

import pytest
from nbformat import v4

from labserver.validation import session
from labserver.validation.book import Marks
from labserver.validation.session import CellFailed, CellStopped, Kernel, KernelHome, Outputs, together, unexpected


def message(kind: str, display_id: str | None = None, **content) -> dict:
    """A message of a kernel about output."""
    if display_id:
        content["transient"] = {"display_id": display_id}
    return {"msg_type": kind, "header": {"msg_type": kind}, "content": content}


def shown(text: str, display_id: str | None = None, kind: str = "display_data") -> dict:
    return message(kind, display_id, data={"text/plain": text}, metadata={})


def texts(*messages: dict) -> list[str]:
    """What is seen after these messages."""
    outputs = Outputs()
    for each in messages:
        outputs.add(each)
    return [output.data["text/plain"] if "data" in output else output.text for output in outputs.items]


def test_outputs_are_gathered():
    """Outputs stay in order; messages about other things leave them alone."""
    print_1 = message("stream", name="stdout", text="1")
    assert texts(print_1, message("status", execution_state="busy"), shown("2")) == ["1", "2"]


def test_outputs_are_cleared_at_once_or_before_the_next():
    """clear_output takes away what was before; with wait=True only when something new comes."""
    assert texts(shown("1"), message("clear_output", wait=False)) == []
    assert texts(shown("1"), message("clear_output", wait=True)) == ["1"]
    assert texts(shown("1"), message("clear_output", wait=True), shown("2"), shown("3")) == ["2", "3"]


def test_a_display_is_updated():
    """An update changes the displays with its id and no other; of an unknown id it changes nothing."""
    update = shown("new", "a", "update_display_data")
    assert texts(shown("1", "a"), shown("2", "b"), shown("3"), update) == ["new", "2", "3"]
    assert texts(shown("2", "b"), update) == ["2"]


def test_a_reply_is_judged_by_the_marks():
    """Raising without the tag and not raising with it are unexpected; the traceback comes without colours."""
    fine = {"status": "ok"}
    error = {"status": "error", "ename": "E", "evalue": "x", "traceback": ["\x1b[31mline\x1b[0m"]}
    assert unexpected(fine, Marks()) == unexpected(error, Marks(raises=True)) == ""
    assert unexpected(error, Marks()) == "expected no exception, but the cell raised E: x\nline"
    assert "raised nothing" in unexpected(fine, Marks(raises=True))


def test_cells_share_a_kernel_in_their_folder(tmp_path):
    """Cells run one after the other with the folder as current, with this interpreter; exceptions are outputs."""

    async def main():
        async with Kernel(tmp_path, 20) as kernel:
            for source in ("import os, sys", "1 / 0", "print(sys.executable, os.getcwd(), sep='\\n')"):
                done = await kernel.run(v4.new_code_cell(source))
            with pytest.raises(CellFailed, match="(?s)cell 4: expected no exception.*raised ZeroDivisionError"):
                await kernel.run_marked("cell 4", v4.new_code_cell("1 / 0"))
            right = await kernel.run_marked("cell 5", v4.new_code_cell("2 + 3"))
            assert right.outputs[0].data["text/plain"] == "5"
            return done

    (done,) = together(main())
    assert done.outputs[0].text.splitlines() == [sys.executable, str(tmp_path.resolve())]
    assert done.execution_count == 3


def test_a_kernel_that_dies_leaves_its_last_words(tmp_path):
    """Its death, also by a leftover of a cell, is told at once with what it wrote to stderr."""

    async def main():
        async with Kernel(tmp_path, 20) as kernel:
            await kernel.run_marked("cell 1", v4.new_code_cell("import os; os.write(2, b'last words'); os._exit(3)"))

    with pytest.raises(CellFailed, match="(?s)cell 1: expected the kernel to live.*found it dead.*last words"):
        together(main())


def test_a_cell_that_does_not_end_is_stopped(tmp_path):
    """At the time limit the wait ends with a clear text, and the kernel is ended although it is busy."""

    async def main():
        async with Kernel(tmp_path, 1) as kernel:
            await kernel.run(v4.new_code_cell("import time; time.sleep(60)"))

    with pytest.raises(CellStopped, match="expected the cell to end within 1 s, but found it still running"):
        together(main())


def test_a_kernel_that_does_not_start_is_told(tmp_path):
    """The error says so, with what the process wrote, and nothing is left open."""
    kernel = Kernel(tmp_path, 1)
    kernel._manager.kernel_spec.argv = [sys.executable, "-c", "import sys; sys.exit('no kernel here')"]

    async def main():
        async with kernel:
            raise AssertionError("not reached")

    with pytest.raises(CellStopped, match="(?s)expected a kernel to start, but found.*no kernel here"):
        together(main())


def test_a_missing_program_is_never_the_error_that_is_meant():
    """A cell that is to raise has to raise what the lesson is about."""
    reply = {"status": "error", "ename": "CommandMissing", "evalue": "expected nginx", "traceback": []}
    told = "expected no exception, but the cell raised CommandMissing: expected nginx"
    assert [unexpected(reply, Marks(raises=raises)) for raises in (True, False)] == [told, told]


def test_a_kernel_gets_what_is_added_to_its_environment(tmp_path, monkeypatch):
    """Beside what is there already; a coverage run of ours does not measure it."""
    monkeypatch.setenv("LABSERVER_TEST", "there")
    monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", "{}")

    async def main():
        async with Kernel(tmp_path, 20, {"LABSERVER_REQUIRE_ALL": "1"}) as kernel:
            names = "LABSERVER_TEST", "LABSERVER_REQUIRE_ALL", "COVERAGE_PROCESS_CONFIG"
            return await kernel.run(v4.new_code_cell(f"import os; [os.environ.get(name) for name in {names}]"))

    (done,) = together(main())
    assert done.outputs[0].data["text/plain"] == "['there', '1', None]"


def test_kernels_meet_in_a_folder_of_their_own(monkeypatch):
    """Sockets are used where their path is short enough and the system has them, else TCP; nothing stays."""
    home = KernelHome()
    file = Path(home.connection["connection_file"])
    assert home.connection["transport"] == ("ipc" if os.name == "posix" else "tcp")
    monkeypatch.setattr(session, "SOCKET_PATH", 3)
    assert home.connection["transport"] == "tcp"
    home.close()
    home.close()
    assert not file.parent.exists()
