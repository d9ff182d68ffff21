"""The kernel that runs what is compared."""

import sys
from queue import Empty

import pytest
from jupyter_client.kernelspec import KernelSpec
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel

from labserver.errors import ValidationError
from labserver.validation import kernel as room
from labserver.validation.kernel import StrictKernel
from labserver.validation.session import CellStopped, KernelHome


def test_a_kernel_that_does_not_start_is_told(monkeypatch, tmp_path):
    """The failure says that no kernel started, with what it wrote."""
    argv = [sys.executable, "-c", "import sys; sys.exit('no module named ipykernel')"]
    spec = KernelSpec(argv=argv, display_name="Python", language="python")
    monkeypatch.setattr(room.NbvalKernelspecManager, "get_kernel_spec", lambda self, name: spec)
    with pytest.raises(pytest.fail.Exception, match="expected a kernel to start(.|\n)*no module named ipykernel"):
        StrictKernel("python3", str(tmp_path), 10)


def test_waiting_for_a_message_ends_at_the_limit(monkeypatch):
    """A living kernel that says nothing ends the wait at its limit, in steps; with no limit the wait goes on."""
    kernel = object.__new__(StrictKernel)
    answers = [Empty(), {"content": "at last"}]

    def get_message(self, stream, timeout):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RunningKernel, "get_message", get_message)
    monkeypatch.setattr(StrictKernel, "is_alive", lambda self: True)
    assert kernel.get_message("iopub")["content"] == "at last"
    answers.append(Empty())
    with pytest.raises(Empty):
        kernel.get_message("iopub", timeout=0)


def test_stopping_is_safe_at_any_time():
    """A kernel that nbval has stopped already is ended in peace."""
    kernel = object.__new__(StrictKernel)
    kernel.home = KernelHome()
    kernel.stop()
    kernel.stop()
    assert kernel.home.output.closed


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel as nbval starts it."""
    kernel = StrictKernel(CURRENT_ENV_KERNEL_NAME, str(tmp_path_factory.mktemp("kernel")), 60)
    yield kernel
    kernel.stop()


def test_an_expression_is_evaluated_and_leaves_nothing(kernel):
    """A literal comes back; the count of cells and the names stay as they were."""
    assert kernel.evaluate("[1, 'a']", 20) == [1, "a"]
    assert kernel.evaluate("[name for name in dir() if name[0] != '_' and name not in dir(__builtins__)][:0]", 20) == []
    assert kernel.evaluate("get_ipython().execution_count", 20) == 1


def test_an_expression_that_raises_is_told(kernel):
    """With the exception, and with what is the usual cause."""
    with pytest.raises(ValidationError, match="expected the kernel to evaluate a probe, but it raised NameError"):
        kernel.evaluate("nothing", 20)


def test_a_kernel_that_does_not_answer_is_told(kernel):
    """The wait for an expression has a limit."""
    with pytest.raises(CellStopped, match="expected the kernel to answer within 0 s"):
        kernel.evaluate("__import__('time').sleep(1)", 0)
    assert kernel.evaluate("2", 20) == 2


def test_queued_cells_are_sent_before_the_first_is_waited_for(kernel):
    """Each is then found where it would have been sent, and what comes later is sent as usual."""
    kernel.queue(["import time; began = time.monotonic()", "seen = began"])
    last = kernel._queued[-1]
    kernel.await_reply(last, timeout=20)
    assert kernel.evaluate("seen == began", 20) is True
    assert [kernel.execute_cell_input("not sent")[:8], kernel.execute_cell_input("not sent")] == [
        kernel.requests[0][:8],
        last,
    ]
    request = kernel.execute_cell_input("third = 3")
    kernel.await_reply(request, timeout=20)
    assert kernel.evaluate("third", 20) == 3


def test_a_kernel_that_dies_with_cells_in_its_queue_is_told_so(kernel, monkeypatch):
    """What it had to say of the last ones is lost with it, so the cell that is waited for may not be the one."""
    monkeypatch.setattr(StrictKernel, "is_alive", lambda self: False)
    with pytest.raises(CellStopped) as plain:
        kernel.check_alive()
    kernel._queued.append("waiting")
    with pytest.raises(CellStopped, match="it may have died in one of the next"):
        kernel.check_alive()
    kernel._queued.clear()
    assert "one of the next" not in str(plain.value)
