"""``fracstride`` and ``python -m fracstride``: what they print, their sentences, exit codes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from argparse import _SubParsersAction
from pathlib import Path
from typing import Any

import pytest

import fracstride as fs
from fracstride.commands import bench, main, parser
from fracstride.network import Graph, Network
from fracstride.network.operations.functions import Tanh

COMMANDS = ("draw", "show", "bench", "convert")


def network() -> Network:
    graph = Graph()
    graph.outputs.append(graph.add(Tanh(), graph.add_input("x", channels=3), path="end"))
    return Network(graph)


@pytest.fixture
def saved(tmp_path: Path) -> str:
    pytest.importorskip("safetensors")
    path = tmp_path / "net.safetensors"
    network().save(path)
    return str(path)


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The same as an ONNX model; its values are x, y and z."""
    pytest.importorskip("onnx.helper")
    import onnx
    from onnx_models import model_of

    nodes = [onnx.helper.make_node("Tanh", ["x"], ["y"], name="end")]
    nodes.append(onnx.helper.make_node("Neg", ["y"], ["z"], name="turned"))
    path = tmp_path / "net.onnx"
    onnx.save(model_of(nodes, {"x": (1, 3, "t")}, ["z"]), path)
    return str(path)


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fracstride", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, timeout=120, check=False
    )


# --- what is installed --------------------------------------------------------------------------


def test_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    fs.show_config()
    assert printed.startswith(capsys.readouterr().out)
    assert re.search(r"^  ml_dtypes +\d+\.\d+\S* +bfloat16$", printed, re.MULTILINE)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"fracstride {fs.__version__}\n"


def test_the_script_and_the_module_are_one_program() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    assert 'fracstride = "fracstride.commands:main"' in text
    done = program("draw", "--kernel-size", "2", PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{fs.draw(fs.Geometry(2)).text()}\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """It has examples, and they are commands."""
    for command in ((), *((name,) for name in COMMANDS)):
        with pytest.raises(SystemExit, match=r"^0$"):
            main([*command, "--help"])
        examples = capsys.readouterr().out.partition("examples:\n")[2]
        lines = re.findall(r"^  fracstride (.*)$", examples, re.MULTILINE)
        assert lines
        for line in lines:
            if not line.endswith("what is installed"):
                parser().parse_args(shlex.split(line))


def test_the_page_has_all_options() -> None:
    """docs/reference/commands.md names those that each command has, and no others."""
    page = (Path(__file__).parents[1] / "docs" / "reference" / "commands.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.M | re.S))

    def described(section: str) -> set[str]:
        cells = re.findall(r"^\| (`.*?) \|", sections[section], re.M)
        return {name for cell in cells for name in re.findall(r"`(-[\w-]+|[A-Z]+)", cell)}

    commands = next(each for each in parser()._actions if isinstance(each, _SubParsersAction))
    assert set(commands.choices) == set(COMMANDS) == sections.keys() - {"A model"}
    for name, command in commands.choices.items():
        has = {
            word
            for action in command._actions
            for word in action.option_strings or [str(action.metavar)]
        }
        assert described("A model") | described(name) == has - {"-h", "--help"}, name


# --- draw ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "geometry", "length"),
    [
        ("--kernel-size 4 --stride 2 --padding 1 --length 3", fs.Geometry(4, 2, 1), 3),
        ("--kernel-size 3 --stride 2 --dilation 2", fs.Geometry(3, 2, dilation=2), None),
        ("--kernel-size 4 --padding 1 2", fs.Geometry(4, padding=(1, 2)), None),
        ("--kernel-size 4 --padding same --stride 2", fs.Geometry(4, 2, "same"), None),
        ("--kernel-size 3 --stride 2 --output-padding 1", fs.Geometry(3, 2, 0, 1), None),
        ("--kernel-size 3 --padding-mode reflect", fs.Geometry(3, padding_mode="reflect"), None),
        ("--conv1d --kernel-size 3 --padding causal", fs.Conv1dGeometry(3, 1, "causal"), None),
    ],
)
def test_draw(
    arguments: str, geometry: Any, length: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", *arguments.split()]) == 0
    assert capsys.readouterr().out == f"{fs.draw(geometry, length)}\n"


def test_draw_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "x.svg")
    assert main(["draw", "--kernel-size", "3", "-o", path]) == 0
    assert Path(path).read_text("utf-8") == fs.draw(fs.Geometry(3)).svg()
    assert capsys.readouterr().out == ""


def test_draw_a_network(saved: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", saved]) == 0
    assert capsys.readouterr().out == f"{fs.draw(network())}\n"
    assert main(["draw", model, "--outputs", "y"]) == 0
    assert capsys.readouterr().out == f"{fs.draw(network())}\n"


def test_draw_with_numpy_alone() -> None:
    code = """
import sys
for name in ("rich", "resvg_py", "onnx", "safetensors", "torch", "ml_dtypes"):
    sys.modules[name] = None
from fracstride.commands import main
sys.stdout.isatty = lambda: True
sys.exit(main(["draw", "--kernel-size", "3"]) or main([]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "frame 0 x0  w0 w1 w2" in done.stdout


def test_draw_in_ascii() -> None:
    done = program("draw", "--kernel-size", "3", "--dilation", "2", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"w0----w1----w2" in done.stdout or b"w0---w1---w2" in done.stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_in_a_terminal(
    no_color: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["draw", "--kernel-size", "3"]) == 0
    printed = capsys.readouterr().out
    assert ("\x1b[" in printed) == (not no_color)
    bare = re.sub(r"\x1b\[[\d;]*m", "", printed)
    lines = [line.rstrip() for line in bare.splitlines()]
    assert lines[3] == "frame 0 x0  w0 w1 w2"


# --- show, convert ------------------------------------------------------------------------------


def test_show(saved: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    shouted = saved.replace(".safetensors", ".SAFETENSORS")
    os.link(saved, shouted)
    for arguments in ([saved], [shouted], [model, "--outputs", "y"]):
        assert main(["show", *arguments]) == 0
        assert capsys.readouterr().out == f"{network()}\n"


def test_convert(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("safetensors")
    path = str(tmp_path / "out.safetensors")
    assert main(["convert", model, path, "--outputs", "y", "--dtype", "float64"]) == 0
    printed = capsys.readouterr().out
    assert re.fullmatch(
        re.escape(path) + r": Network\(1 operations, dtype=float64\), [\d.e-]+ MB\n", printed
    )
    assert str(fs.load(path)) == str(network().astype("float64"))
    assert main(["convert", path, path, "--dtype", "float32"]) == 0
    assert str(fs.load(path)) == str(network())


# --- bench --------------------------------------------------------------------------------------


def quick(*arguments: str) -> list[str]:
    return ["bench", *arguments, "--seconds", "0", "--length", "9"]


def test_bench(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(quick(model)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Network(2 operations, dtype=float32) on x (1, 3, 9), threads: 1"
    assert re.fullmatch(r"the outputs differ by \S+ of the peak", lines[1])
    assert float(lines[1].split()[4]) < 1e-6
    assert re.fullmatch(r"fracstride +[\d.]+ ms", lines[2])
    assert re.fullmatch(r"ONNX Runtime +[\d.]+ ms", lines[3])
    assert re.fullmatch(
        r"fracstride is \d+\.\d\d times as fast as ONNX Runtime \(median of [5-9] rounds\)",
        lines[4],
    )


def test_bench_of_a_model_with_a_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx.helper")
    import onnx
    from onnx_models import model_of

    path = str(tmp_path / "static.onnx")
    onnx.save(
        model_of([onnx.helper.make_node("Tanh", ["x"], ["y"])], {"x": (1, 3, 50)}, ["y"]), path
    )
    assert main(["bench", path, "--seconds", "0"]) == 0
    assert " on x (1, 3, 50), " in capsys.readouterr().out
    assert main(["bench", path, "--length", "50", "--seconds", "0"]) == 0
    capsys.readouterr()
    assert main(["bench", path, "--length", "40"]) != 0
    assert "--length must be 50 ticks, which the file fixes" in capsys.readouterr().err


def test_bench_of_a_part(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    assert main(quick(model, "--inputs", "y", "--outputs", "z", "--batch", "1")) == 0
    assert capsys.readouterr().out.startswith("Network(1 operations, dtype=float32) on y (1, 3, 9)")


def test_bench_of_other_outputs(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(Network, "__call__", lambda self, x: x)
    assert main(quick(model)) == 1
    printed = capsys.readouterr()
    assert re.fullmatch(
        r"the outputs differ by [\d.]+ of the peak: no times are compared\n", printed.err
    )
    assert " ms" not in printed.out


def test_bench_without_a_peer(
    saved: str, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(quick(saved)) == 0
    assert "A saved network has no ONNX model" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(quick(model)) == 0
    printed = capsys.readouterr().out
    assert "ONNX Runtime is not installed (pip install onnxruntime)" in printed
    assert re.search(r"^fracstride +[\d.]+ ms$", printed, re.MULTILINE)
    assert "times as fast" not in printed


def test_rounds_turn_the_order() -> None:
    called: list[int] = []
    calls = [lambda n=n: called.append(n) for n in range(2)]
    times = bench.times_of(calls, 0, block=0)
    assert times.shape == (5, 2)
    assert called == [0, 0, 1, 1, *[0, 1, 1, 0] * 2, 0, 1]
    assert (times > 0).all()


def test_bfloat16_without_its_package(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is healthy."""
    pytest.importorskip("safetensors")
    path = str(tmp_path / "half.safetensors")
    assert main(["convert", model, path, "--dtype", "bfloat16"]) == 0
    code = "import sys; sys.modules['ml_dtypes'] = None; from fracstride.commands import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{code}sys.exit(main(['show', {path!r}]))"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("dtype bfloat16 needs the package ml_dtypes: pip install")


# --- terminals ----------------------------------------------------------------------------------


@pytest.fixture
def strange(tmp_path: Path) -> str:
    """A network whose names no terminal should get as they are."""
    pytest.importorskip("safetensors")
    graph = Graph()
    name = "\u4e2d\x1b[2J"
    graph.outputs.append(graph.add(Tanh(), graph.add_input(name, channels=3), path=name))
    path = tmp_path / "strange.safetensors"
    Network(graph).save(path)
    return str(path)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp437"])
@pytest.mark.parametrize("command", [["show"], ["draw"], ["bench", "--seconds", "0"]])
def test_names_in_any_terminal(command: list[str], encoding: str, strange: str) -> None:
    done = program(*command, strange, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout
    shown = "\u4e2d\ufffd[2J" if encoding == "utf-8" else "??[2J"
    assert shown in done.stdout.decode(encoding)


def test_errors_in_any_terminal(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    done = program("show", "\u4e2d\x1b.safetensors", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert done.stderr.startswith(b"there is no file '?")
    assert b"\x1b" not in done.stderr
    path = str(tmp_path / "\u4e2d.safetensors")
    network().save(path)
    done = program("convert", path, path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?.safetensors: Network(" in done.stdout


@pytest.mark.parametrize("arguments", ["draw --kernel-size 3", "", "show nothing.safetensors"])
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream(arguments: str, closed: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m fracstride {arguments} {closed}"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == ("show" in arguments)
    assert "Traceback" not in done.stderr
    assert "there is no" not in done.stdout


# --- what cannot be done ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("show nothing.safetensors", 1, "there is no file 'nothing.safetensors'"),
        ("draw nothing.safetensors", 1, "there is no file 'nothing.safetensors'"),
        ("bench nothing.safetensors", 1, "there is no file 'nothing.safetensors'"),
        (
            "convert nothing.safetensors x.safetensors",
            1,
            "there is no file 'nothing.safetensors'",
        ),
        (
            "show x.safetensors --inputs a",
            2,
            "--inputs and --outputs are for ONNX models",
        ),
        ("convert x.onnx x.onnx", 2, "FILE must end with .safetensors, got 'x.onnx'"),
        ("draw", 2, "draw needs --kernel-size K of a layer, or a MODEL"),
        ("draw --inputs x", 2, "--inputs and --outputs are for ONNX models"),
        ("draw x.onnx --stride 2", 2, "--stride is for a layer, and MODEL is given too"),
        ("draw x.onnx --conv1d", 2, "--conv1d is for a layer, and MODEL is given too"),
        (
            "draw --conv1d --kernel-size 3 --output-padding 1",
            2,
            "--output-padding is for a ConvTranspose1d, and --conv1d is given",
        ),
        ("draw --kernel-size 0", 2, "kernel_size must be a positive int, got 0"),
        (
            "draw --kernel-size 3 --output x.gif",
            2,
            "FILE must end with .svg, .png or .txt, got 'x.gif'",
        ),
        (
            "draw --kernel-size 3 --padding 1 b",
            2,
            "--padding must be one number, two numbers, valid, same or causal, got 1 b",
        ),
        ("draw --kernel-size 3 -o .svg", 2, "FILE must have a name before its suffix, got '.svg'"),
        (
            "convert v.onnx .safetensors",
            2,
            "FILE must have a name before its suffix, got '.safetensors'",
        ),
        ("show /", 2, "'/' is a directory"),
        ("bench x.onnx --seconds nan", 2, "--seconds must be finite and at least 0, got nan"),
        ("bench x.onnx --seconds inf", 2, "--seconds must be finite and at least 0, got inf"),
        ("bench x.onnx --seconds -1", 2, "--seconds must be finite and at least 0, got -1.0"),
        (
            "bench x.onnx --threads 5000",
            2,
            "--threads: n must be at most 1024 threads, got 5000",
        ),
        ("bench x.onnx --threads 0", 2, "--threads must be at least 1, got 0"),
    ],
)
def test_sentences(
    arguments: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "safetensors" in arguments and code == 1:
        pytest.importorskip("safetensors")
    assert main(arguments.split()) == code
    assert capsys.readouterr().err == f"{message}\n"


@pytest.mark.parametrize("padding", ["wide", "-1", "1 2 3"])
def test_the_layers_own_sentences(padding: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "--kernel-size", "3", "--padding", *padding.split()]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("padding must be ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("kind", ["onnx", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04N.", b"{" * 5000])
def test_files_that_hold_no_model(
    content: bytes, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors" if kind == "safetensors" else "onnx.helper")
    path = tmp_path / f"x.{kind}"
    path.write_bytes(content)
    for command in (["show"], ["draw"], ["bench"]):
        assert main([*command, str(path)]) == 1
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        assert printed.out == ""


def test_files_that_cannot_be_written(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", saved, "/no/such/folder/x.safetensors"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("'/no/such/folder/x.safetensors' cannot be written: ")
    assert printed.count("\n") == 1
    assert main(["draw", saved, "-o", "/no/such/folder/x.svg"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", ["nonsense", "show", "draw --kernel-size x", "convert x"])
def test_what_argparse_refuses(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments.split())
    assert "error: " in capsys.readouterr().err


def test_a_reader_that_goes_away(saved: str) -> None:
    """As ``head`` does."""
    command = [sys.executable, "-m", "fracstride", "show", saved]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
