"""A signal too long for one process: ten minutes through an upsampling stack, cut along time.

    torchrun --standalone --nproc-per-node 2 examples/long_signal.py

Each process holds a piece of every signal in the stack, and gets the frames beyond its ends from
its neighbours. At the end one process computes the same alone, and every bit is compared.

After each layer the pieces are saved to a checkpoint. When a process dies, the others end too.
torchrun then starts all of them again, and they continue after the last layer that was saved:

    torchrun --standalone --nproc-per-node 2 --max-restarts 1 examples/long_signal.py --kill 1

The pieces of a checkpoint can be read by any number of processes.
"""

import argparse
import gc
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path
from time import perf_counter

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import parallelize_module

import fracstride.torch as ft
from fracstride import Geometry
from fracstride.torch.distributed import TimeParallel, messages, shard_bounds, traffic

RATE = 24_000  # samples per second
# Channels in and out, kernel size, stride, padding: 256 samples to a frame.
SIZES = ((64, 32, 16, 8, 4), (32, 16, 16, 8, 4), (16, 8, 4, 2, 1), (8, 1, 4, 2, 1))
GEOMETRIES = [Geometry(*of_kernel) for _, _, *of_kernel in SIZES]
BLOCK = 1024  # frames that are drawn together
RESTART = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def layers() -> nn.ModuleList:
    """The layers of the stack, with the same weights in every process."""
    torch.manual_seed(0)
    return nn.ModuleList(nn.Sequential(ft.ConvTranspose1d(*s), nn.LeakyReLU(0.1)) for s in SIZES)


def frames(first: int, stop: int) -> Tensor:
    """Frames ``(1, C, stop - first)`` of the input, the same in every process."""
    blocks = [
        torch.randn(1, SIZES[0][0], BLOCK, generator=torch.Generator().manual_seed(block))
        for block in range(first // BLOCK, -(-stop // BLOCK))
    ]
    start = first - first // BLOCK * BLOCK
    return torch.cat(blocks, 2)[:, :, start : start + stop - first].contiguous()


def lengths_of(minutes: float) -> list[int]:
    """Frames of the input, and samples of each layer's output."""
    lengths = [round(minutes * 60 * RATE / 256)]
    for geometry in GEOMETRIES:
        lengths.append(geometry.output_length(lengths[-1]))
    return lengths


def resumed(folder: Path, lengths: list[int], mesh: DeviceMesh) -> tuple[int, Tensor]:
    """How many layers are done, and this process's piece of the last one's output."""
    rank, ranks = mesh.get_local_rank(), mesh.size()
    for done in range(len(SIZES), 0, -1):
        saved = folder / str(done)
        if (saved / ".metadata").exists():  # written last, when all the pieces are there
            first, stop = shard_bounds(lengths[done], ranks, rank)
            piece = torch.empty(1, SIZES[done - 1][1], stop - first)
            checkpoint.load({"signal": whole_of(piece, lengths[done], mesh)}, checkpoint_id=saved)
            return done, piece
    return 0, frames(*shard_bounds(lengths[0], ranks, rank))


def whole_of(piece: Tensor, length: int, mesh: DeviceMesh) -> DTensor:
    """The signal of that length, of which this process has a piece."""
    channels = piece.shape[1]
    shape, stride = torch.Size((1, channels, length)), (channels * length, length, 1)
    return DTensor.from_local(piece, mesh, [Shard(2)], run_check=False, shape=shape, stride=stride)


def main() -> None:
    """Take part with the other processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of signal, at 24 kHz")
    parser.add_argument("--folder", type=Path, default=Path("build/long_signal"))
    parser.add_argument("--kill", type=int, metavar="RANK", help="die once, before layer --at")
    parser.add_argument("--at", type=int, default=3, metavar="LAYER")
    options = parser.parse_args()
    # torchrun keeps its store over a restart. Without a prefix of its own, a restart would find
    # the addresses of processes that have died.
    store, rank, ranks = next(dist.rendezvous("env://"))
    dist.init_process_group(
        "gloo",
        store=dist.PrefixStore(f"restart {RESTART}", store),
        rank=rank,
        world_size=ranks,
        timeout=timedelta(seconds=60),
    )
    with torch.inference_mode():
        run(options)
    gc.collect()  # torch 2.13 may abort at the end of a process in which a mesh is alive
    dist.destroy_process_group()


def run(options: argparse.Namespace) -> None:
    """Resume, compute layer by layer, save, compare."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh("cpu", (ranks,))
    if rank == 0 and not RESTART:
        shutil.rmtree(options.folder, ignore_errors=True)
    dist.barrier()

    lengths = lengths_of(options.minutes)
    stack = [parallelize_module(layer, mesh, TimeParallel()) for layer in layers()]
    done, x = resumed(options.folder, lengths, mesh)
    if rank == 0 and done:
        print(f"restart {RESTART}: layers 1 to {done} are read from the checkpoint")
    start = perf_counter()
    for number in range(done + 1, len(stack) + 1):
        if options.kill == rank and options.at == number and not RESTART:
            print(f"rank {rank} dies before layer {number}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        with traffic() as sent:
            x = stack[number - 1](x)
        signals = {"signal": whole_of(x, lengths[number], mesh)}
        checkpoint.save(signals, checkpoint_id=options.folder / str(number))
        between = messages(GEOMETRIES[number - 1], lengths[number - 1], ranks)
        least = 4 * SIZES[number - 1][0] * sum(between.values())
        count = torch.tensor([sent.bytes])
        dist.all_reduce(count)
        assert count.item() == least, (count, least)
        if rank == 0:
            print(
                f"layer {number}: {lengths[number]:,} samples of {x.shape[1]} channels; "
                f"{least:,} bytes between {ranks} processes, {len(between)} messages"
            )
    if rank == 0:
        print(f"{perf_counter() - start:.1f} s, checkpoints included")
    compare(x, lengths)


def compare(x: Tensor, lengths: list[int]) -> None:
    """Compare each process's samples with those that one process computes from the whole signal."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    whole = torch.empty(1, 1, lengths[-1])
    if rank == 0:
        start = perf_counter()
        whole = nn.Sequential(*layers())(frames(0, lengths[0]))
        print(f"{perf_counter() - start:.1f} s in one process")
    dist.broadcast(whole, 0)
    first, stop = shard_bounds(lengths[-1], ranks, rank)
    same = torch.tensor([int(torch.equal(whole[:, :, first:stop], x))])
    dist.all_reduce(same, dist.ReduceOp.MIN)
    assert same.item(), "the samples are not those of one process"
    if rank == 0:
        print(f"{lengths[-1] / RATE / 60:.1f} minutes: the bits of one process")


if __name__ == "__main__":
    main()
