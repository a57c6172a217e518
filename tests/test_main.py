"""``python -m fracstride``."""

from __future__ import annotations

from pathlib import Path

import pytest

from fracstride.__main__ import main
from fracstride.network import Graph, Network
from fracstride.network.operations.functions import Tanh


def network() -> Network:
    graph = Graph()
    graph.outputs.append(graph.add(Tanh(), graph.add_input("x", channels=3), path="end"))
    return Network(graph)


def test_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "instruction set" in capsys.readouterr().out


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("safetensors")
    network().save(tmp_path / "net.safetensors")
    assert main(["show", str(tmp_path / "net.safetensors")]) == 0
    assert capsys.readouterr().out == f"{network()}\n"


def test_show_an_onnx_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx.helper")
    import onnx
    from onnx_models import model_of

    nodes = [onnx.helper.make_node("Tanh", ["x"], ["y"], name="end")]
    onnx.save(model_of(nodes, {"x": (1, 3, "t")}), tmp_path / "net.onnx")
    assert main(["show", str(tmp_path / "net.onnx"), "--outputs", "y"]) == 0
    assert capsys.readouterr().out == f"{network()}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.safetensors"], "there is no file 'nothing.safetensors'"),
        (["x.safetensors", "--inputs", "a"], "--inputs and --outputs are for ONNX models"),
    ],
)
def test_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *arguments]) == 1
    assert capsys.readouterr().err == f"{message}\n"
