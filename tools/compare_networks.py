#!/usr/bin/env python3
"""Times dukd-host and other engines on the same networks, in the same run, and prints the ratios.

    tools/compare_networks.py ENV --setup     make the environment ENV (a folder; about 6 GB from PyPI), once
    tools/compare_networks.py ENV             the six networks of the paper's Table 1, 3 x 256 x 256, two threads

Optional: neither the plugin nor a host needs Python. Engines: dukd-host (`info`, of the build in build/release), PyTorch
(eager with channels_last, and torch.compile), ONNX Runtime, OpenVINO, and ncnn with Winograd off and on. The networks are
BasicSR's own modules with random weights; each engine's output is compared with PyTorch's. Each engine lives in a process of
its own; rounds go through all of them in turn, so that whatever else the machine does meets all alike. In each round an engine
runs twice and the second run counts. The figure is the median over the rounds.

"ratio" is dukd-host's time over the fastest of the others (below 1: dukd-host is faster); ncnn with Winograd is shown
beside and does not count. An engine that cannot run a network, or is not ready within --limit, gets a line "not measured" with
the reason. What an engine's form of a network takes long to make (ONNX, ncnn) is kept in ENV/exports, for each size.

    --only NAME...       of: edsr_256_32 edsr_64_32 rcan_64_20 rcan_64_6 swinir_180 swinir_60, or the small ones for a trial:
                         edsr_small rcan_small swinir_small
    --size HxW           of the input (256x256); multiples of 8 for SwinIR
    --precision f32|bf16 (f32); ONNX Runtime has no bf16 on CPUs and is left out there
    --threads N          (2)
    --rounds N           (7)
    --limit SECONDS      for an engine to export, compile and warm up (600), and for each of its rounds
    --engines NAME...    only these (dukd torch compile onnxruntime openvino ncnn ncnn_winograd)
    --host PROGRAM       another dukd-host
    --json FILE          the seconds of every round, for a program
"""
import argparse
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASICSR = "basicsr-1.4.2"
PACKAGES = ["torch", "numpy", "onnx", "onnxscript", "onnxruntime", "openvino", "ncnn", "pnnx", "setuptools"]

RGB = {"num_in_ch": 3, "num_out_ch": 3, "upscale": 4}


def swinir(dim, depths, heads=6):
    return "SwinIR", {"upscale": 4, "in_chans": 3, "img_size": 48, "window_size": 8, "img_range": 1.0, "embed_dim": dim,
                      "depths": depths, "num_heads": [heads] * len(depths), "mlp_ratio": 2, "upsampler": "pixelshuffle",
                      "resi_connection": "1conv"}


def rcan(blocks, groups=10, feat=64):
    return "RCAN", {**RGB, "num_feat": feat, "num_group": groups, "num_block": blocks, "squeeze_factor": 16}


def edsr(feat, blocks):
    return "EDSR", {**RGB, "num_feat": feat, "num_block": blocks, "res_scale": 0.1}


NETWORKS = {
    "edsr_256_32": edsr(256, 32),
    "edsr_64_32": edsr(64, 32),
    "rcan_64_20": rcan(20),
    "rcan_64_6": rcan(6),
    "swinir_180": swinir(180, [6] * 6),
    "swinir_60": swinir(60, [6] * 4),
    "edsr_small": edsr(32, 4),
    "rcan_small": rcan(2, groups=2, feat=32),
    "swinir_small": swinir(60, [2, 2]),
}
PAPER = list(NETWORKS)[:6]


# ---------------------------------------------------------------- the networks


def stub(name, **contents):
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
    return module


class Registry:
    """What BasicSR registers its classes with: here they are only wanted."""

    def register(self, suffix=None):
        del suffix
        return lambda thing: thing


def arch_class(env, type_name):
    """BasicSR's class, from the files of its source package: the package itself wants much that is not needed here."""
    import importlib

    source = env / BASICSR / "basicsr"
    stub("torchvision", __version__="0.20.0")
    if "distutils" not in sys.modules:
        try:
            import distutils.version  # noqa: F401
        except ImportError:
            stub("distutils")
            stub("distutils.version", LooseVersion=lambda text: [int(n) for n in text.split("+")[0].split(".")[:3]])
    stub("basicsr").__path__ = [str(source)]
    stub("basicsr.archs").__path__ = [str(source / "archs")]
    stub("basicsr.utils", get_root_logger=lambda: None).__path__ = []
    stub("basicsr.utils.registry", ARCH_REGISTRY=Registry())
    stub("basicsr.ops").__path__ = []
    stub("basicsr.ops.dcn", ModulatedDeformConvPack=object, modulated_deform_conv=None)
    return getattr(importlib.import_module(f"basicsr.archs.{type_name.lower()}_arch"), type_name)


def make_network(env, name, height, width):
    import torch

    type_name, options = NETWORKS[name]
    options = dict(options)
    if type_name == "SwinIR":
        options["img_size"] = (height, width)  # its masks are made once, as dukd-host's are
    torch.manual_seed(0)
    network = arch_class(env, type_name)(**options).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


# ---------------------------------------------------------------- engines, each in a process of its own: f(input) -> output


def engine_torch(job, network, x):
    import torch

    network = network.to(memory_format=torch.channels_last)
    x = x.to(memory_format=torch.channels_last)
    if job["precision"] == "bf16":
        network, x = network.to(torch.bfloat16), x.to(torch.bfloat16)
        if hasattr(network, "mean"):
            network.mean = network.mean.to(torch.bfloat16)
    if job["engine"] == "compile":
        network = torch.compile(network)

    def run():
        with torch.inference_mode():
            return network(x)

    return run, lambda y: y.float().numpy()


def trace(network, x):
    import torch

    with torch.no_grad():
        return torch.jit.trace(network, x, check_trace=False)


def exported(job, form, make):
    """The folder of a network in another form, kept in the environment. make(folder) fills a new one: it gets its name only
    when it is whole, so that a process that is stopped leaves nothing half made."""
    place = pathlib.Path(job["env"]) / "exports" / f"{job['network']}-{job['height']}x{job['width']}-{form}"
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as new:
            folder = pathlib.Path(new) / "new"
            folder.mkdir()
            make(folder)
            folder.rename(place)
    return place


def engine_onnxruntime(job, network, x):
    import onnxruntime
    import torch

    if job["precision"] != "f32":
        raise RuntimeError("it has no bf16 on CPUs")
    def make(folder):
        torch.onnx.export(network, (x,), str(folder / "model.onnx"), input_names=["x"], output_names=["y"],
                          opset_version=18, verbose=False)

    path = str(exported(job, "onnx", make) / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = x.numpy()
    return (lambda: session.run(None, {"x": image})[0]), (lambda y: y)


def engine_openvino(job, network, x):
    import openvino

    model = openvino.convert_model(trace(network, x), example_input=x, input=[tuple(x.shape)])
    compiled = openvino.Core().compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": job["threads"],
        "INFERENCE_PRECISION_HINT": job["precision"],  # else bf16 where the processor has it
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    })
    request = compiled.create_infer_request()
    image = x.numpy()
    return (lambda: request.infer([image])[0]), (lambda y: y)


def engine_ncnn(job, network, x):
    import ncnn
    import numpy

    def make(folder):
        trace(network, x).save(str(folder / "model.pt"))
        shape = ",".join(str(n) for n in x.shape)
        pnnx = pathlib.Path(sys.executable).parent / "pnnx"
        said = subprocess.run([pnnx, "model.pt", f"inputshape=[{shape}]", "fp16=0", "optlevel=2"], cwd=folder,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if said.returncode or not (folder / "model.ncnn.param").exists():
            raise RuntimeError(f"pnnx does not convert it: {said.stdout.strip()[-200:]}")

    stem = exported(job, "ncnn", make) / "model"
    layers = pathlib.Path(f"{stem}.ncnn.param").read_text().splitlines()[2:]
    foreign = sorted({line.split()[0] for line in layers if "." in line.split()[0]})  # kept in PyTorch's words
    if foreign:
        raise RuntimeError(f"it has no operation for the network's {', '.join(foreign)}")
    net = ncnn.Net()
    net.opt.num_threads = job["threads"]
    net.opt.use_winograd_convolution = job["engine"] == "ncnn_winograd"
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = job["precision"] == "bf16"
    if net.load_param(f"{stem}.ncnn.param") or net.load_model(f"{stem}.ncnn.bin"):
        raise RuntimeError("it does not load what pnnx made of the network")
    image = numpy.ascontiguousarray(x.numpy()[0])

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image))
        status, y = extractor.extract("out0")
        if status:
            raise RuntimeError(f"it gives status {status}")
        return y

    return run, lambda y: numpy.array(y)[None]


def engine_dukd(job, network, x):
    """Not in this process: each round is one `dukd-host info` with a warm-up of its own and one timed run."""
    del network, x
    type_name, options = NETWORKS[job["network"]]
    path = pathlib.Path(job["folder"]) / "network.yml"
    lines = ["scale: 4", "network_g:", f"  type: {type_name}"]
    path.write_text("\n".join(lines + [f"  {key}: {json.dumps(value)}" for key, value in options.items()]) + "\n")
    command = [job["host"], "info", str(path), "--json", "-q", "--runs", "1", "--threads", str(job["threads"]), "--size",
               f"{job['height']}x{job['width']}", "--precision", job["precision"]]

    def run():
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if said.returncode:
            try:
                row = json.loads(said.stdout)["networks"][0]
                raise RuntimeError(row.get("problem") or row[job["precision"]]["problem"])
            except (ValueError, KeyError):
                raise RuntimeError(said.stderr.strip()) from None
        return json.loads(said.stdout)["networks"][0][job["precision"]]["seconds"]

    return run, None


ENGINES = {
    "dukd": engine_dukd,
    "torch": engine_torch,
    "compile": engine_torch,
    "onnxruntime": engine_onnxruntime,
    "openvino": engine_openvino,
    "ncnn": engine_ncnn,
    "ncnn_winograd": engine_ncnn,
}
BESIDE = {"ncnn_winograd"}  # shown, not counted


def work(job):
    """A process that runs one network on one engine: a line on stdin, seconds as a line on stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever an engine prints is not an answer

    def answer(**what):
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    try:
        if job["engine"] == "dukd":
            run, _ = engine_dukd(job, None, None)
            run()
            answer(ready=True, difference=None)
            for _ in sys.stdin:
                answer(seconds=run())
            return
        import numpy
        import torch

        torch.set_num_threads(job["threads"])
        network = make_network(pathlib.Path(job["env"]), job["network"], job["height"], job["width"])
        torch.manual_seed(1)
        x = torch.rand(1, 3, job["height"], job["width"])
        with torch.inference_mode():
            reference = network(x).numpy()
        run, array = ENGINES[job["engine"]](job, network, x)
        for _ in range(2):  # warm-up; compilers compile here
            y = run()
        y = numpy.asarray(array(y), dtype=numpy.float64)
        if y.shape != reference.shape:
            raise RuntimeError(f"its output is {y.shape}, PyTorch's {reference.shape}")
        answer(ready=True, difference=float(abs(y - reference).max() / abs(reference).max()))
        for _ in sys.stdin:
            run()  # as dukd-host's warm-up: the other engines have had the caches since the last round
            start = time.perf_counter()
            run()
            answer(seconds=time.perf_counter() - start)
    except Exception as error:  # the reason goes into the table
        text = " ".join(str(error).split()) or type(error).__name__
        answer(problem=text[:300])


# ---------------------------------------------------------------- the comparison


class Worker:
    """An engine's process, in a group of its own so that what it starts (compilers, pnnx) can be stopped with it."""

    def __init__(self, arguments, network, engine, folder):
        job = {"env": str(arguments.env), "network": network, "engine": engine, "folder": str(folder),
               "height": arguments.height, "width": arguments.width, "threads": arguments.threads,
               "precision": arguments.precision, "host": str(arguments.host)}
        self.engine, self.seconds, self.problem, self.difference = engine, [], None, None
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen([sys.executable, __file__, "--work", json.dumps(job)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True, start_new_session=True)
        self.limit = arguments.limit
        try:
            self.difference = self.read("ready").get("difference")
        except BaseException:  # an interrupt does not reach it
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def read(self, what):
        if not select.select([self.process.stdout], [], [], self.limit)[0]:
            os.killpg(self.process.pid, signal.SIGKILL)
            said = {"problem": f"not {what} within {self.limit} s (--limit)"}
        else:
            line = self.process.stdout.readline()
            said = json.loads(line) if line else {"problem": "its process ended without a word"}
        self.problem = self.problem or said.get("problem")
        return said

    def round(self):
        if self.problem:
            return
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = self.read("done with a run")
        if "seconds" in said:
            self.seconds.append(said["seconds"])

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(self.limit)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


def progress(line):
    print(line, file=sys.stderr, flush=True)


def compare(arguments, network):
    with tempfile.TemporaryDirectory() as folder:
        workers = []
        try:
            for engine in arguments.engines:
                place = pathlib.Path(folder) / engine
                place.mkdir()
                start = time.monotonic()
                workers.append(Worker(arguments, network, engine, place))
                progress(f"{network}: {engine} {workers[-1].problem or 'is ready'} after {time.monotonic() - start:.0f} s")
            for n in range(arguments.rounds):
                start = time.monotonic()
                for worker in workers:
                    worker.round()
                progress(f"{network}: round {n + 1} of {arguments.rounds}, {time.monotonic() - start:.1f} s")
        finally:
            for worker in workers:
                worker.close()
    return workers


def show(arguments, network, workers):
    good = {w.engine: statistics.median(w.seconds) for w in workers if w.seconds and not w.problem}
    others = {e: s for e, s in good.items() if e != "dukd" and e not in BESIDE}
    ours = good.get("dukd")
    print(f"\n{network}, 3 x {arguments.height} x {arguments.width}, {arguments.precision}")
    for w in workers:
        if w.engine not in good:
            print(f"  {w.engine:14} not measured: {w.problem}")
            continue
        line = f"  {w.engine:14} {good[w.engine] * 1e3:10.2f} ms  (from {min(w.seconds) * 1e3:.2f} to {max(w.seconds) * 1e3:.2f})"
        if w.difference is not None:
            line += f"  differs from PyTorch by {w.difference:.1e}"
        if ours and w.engine != "dukd":
            line += f"  dukd-host takes {ours / good[w.engine]:.2f} of it"
        print(line, flush=True)
    if ours and others:
        fastest = min(others, key=others.get)
        print(f"  ratio {ours / others[fastest]:.2f}: dukd-host over the fastest of the others, {fastest}")
    return {"network": network, "ratio": ours / min(others.values()) if ours and others else None,
            "seconds": {w.engine: w.seconds for w in workers}, "problems": {w.engine: w.problem for w in workers if w.problem},
            "differences": {w.engine: w.difference for w in workers}}


# ---------------------------------------------------------------- environment and arguments


def set_up(env):
    env.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(env / "venv")], check=True)
    pip = [str(env / "venv/bin/python"), "-m", "pip"]
    subprocess.run(pip + ["install", *PACKAGES], check=True)
    with tempfile.TemporaryDirectory() as folder:
        name, version = BASICSR.rsplit("-", 1)
        subprocess.run(pip + ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", folder,
                              f"{name}=={version}"], check=True)
        subprocess.run(["tar", "-xzf", str(pathlib.Path(folder) / f"{BASICSR}.tar.gz"), "-C", str(env)], check=True)
    print(f"{env} is ready: tools/compare_networks.py {env}")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--work":
        work(json.loads(sys.argv[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage="tools/compare_networks.py ENV [--setup] [option ...]")
    parser.add_argument("env", type=pathlib.Path)
    parser.add_argument("--setup", action="store_true")
    parser.add_argument("--only", "--networks", dest="networks", nargs="+", default=PAPER, choices=list(NETWORKS), metavar="NAME")
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES), metavar="NAME")
    parser.add_argument("--host", type=pathlib.Path, default=ROOT / "build/release/bin/dukd-host")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.env = arguments.env.resolve()
    if arguments.setup:
        set_up(arguments.env)
        return 0
    python = arguments.env / "venv/bin/python"
    if not python.exists() or not (arguments.env / BASICSR).exists():
        parser.error(f"{arguments.env} is no environment of this script: make it with --setup")
    if pathlib.Path(sys.prefix) != python.parent.parent:
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    try:
        arguments.height, arguments.width = (int(n) for n in arguments.size.split("x"))
    except ValueError:
        parser.error(f"--size wants HxW, as 256x256, not {arguments.size}")
    if min(arguments.rounds, arguments.threads, arguments.limit) < 1:
        parser.error("--rounds, --threads and --limit are at least 1")
    if "dukd" in arguments.engines and not arguments.host.exists():
        parser.error(f"no {arguments.host}: run tools/build, or give --host")
    print(f"{arguments.threads} threads, {arguments.rounds} rounds, medians; load {os.getloadavg()[0]:.1f}")
    results = []
    for name in arguments.networks:
        results.append(show(arguments, name, compare(arguments, name)))
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
