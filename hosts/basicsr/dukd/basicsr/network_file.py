"""Files of a network's weights: BasicSR's .pth, and safetensors as dukd-host writes them."""
import json
import struct

import torch

from ..errors import DukdError

_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I64": torch.int64,
          "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}


class WeightsError(DukdError):
    """A file of weights that is not there, cannot be read, or does not fit the network."""


def _safetensors(path):
    """{name: tensor}."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    try:
        length, = struct.unpack_from("<Q", data)
        if length > len(data) - 8:
            raise ValueError(f"a header of {length} bytes does not lie in the file")
        rows = json.loads(bytes(data[8:8 + length]))
        start, tensors = 8 + length, {}
        for name, row in rows.items():
            if name == "__metadata__":
                continue
            begin, end = row["data_offsets"]
            dtype, shape = _TYPES[row["dtype"]], row["shape"]
            count = 1
            for n in shape:
                count *= n
            if not 0 <= begin <= end <= len(data) - start or end - begin != count * dtype.itemsize:
                raise ValueError(f"tensor {name} does not lie in the file")
            tensors[name] = torch.frombuffer(data, dtype=dtype, count=count, offset=start + begin).reshape(shape) \
                if count else torch.empty(shape, dtype=dtype)
        return tensors
    except (struct.error, ValueError, KeyError, TypeError) as e:
        raise WeightsError(f"{path} is no safetensors file: {e}") from None


def read(path):
    """The file as BasicSR's: {param key: {parameter: tensor}}, or {parameter: tensor} where it has no keys."""
    try:
        if not str(path).endswith(".safetensors"):
            return torch.load(path, map_location="cpu", weights_only=True)
        tensors = _safetensors(path)
    except OSError as e:
        raise WeightsError(f"{path}: {e.strerror}") from None
    except WeightsError:
        raise
    except Exception as e:  # noqa: BLE001 (pickle's and zip's errors are of many kinds)
        raise WeightsError(f"{path} cannot be read as a file of torch.save: {str(e).strip().splitlines()[0]}") from None
    keyed = {}
    for name, tensor in tensors.items():
        key, dot, rest = name.partition(".")
        if key not in ("params", "params_ema") or not dot:
            return tensors
        keyed.setdefault(key, {})[rest] = tensor
    return keyed


def pick(weights, path, param_key):
    """({parameter: tensor}, key that was used). As BasicSR: "params" where the file does not have the key."""
    if not isinstance(weights, dict):
        raise WeightsError(f"{path} holds a {type(weights).__name__}, expected tensors by name")
    nested = {k for k, v in weights.items() if isinstance(v, dict)}
    if param_key is None or not nested:
        return weights, None
    if param_key not in weights and "params" in weights:
        param_key = "params"
    if param_key not in weights:
        raise WeightsError(f"{path} has no '{param_key}', but {', '.join(sorted(nested))}: set param_key_g or param_key_t")
    return weights[param_key], param_key
