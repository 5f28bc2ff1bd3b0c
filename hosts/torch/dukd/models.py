"""Networks that come with the package: EDSR, which the trainer trains, and VGG19 for methods that compare features. Names, shapes
and defaults are BasicSR's and torchvision's, so that their files of weights fit."""
import importlib

import torch
from torch import nn
from torch.nn import functional as F

from .options import key_and_value


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, scaled and added to its input."""

    def __init__(self, num_feat, res_scale):
        super().__init__()
        self.res_scale = res_scale
        self.conv1 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv2 = nn.Conv2d(num_feat, num_feat, 3, 1, 1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x))) * self.res_scale


class EDSR(nn.Module):
    """Lim et al., CVPRW 2017. x: N x 3 x h x w in [0, 1]; gives N x 3 x upscale h x upscale w.

    Layers to tap: "conv_first", "body.N" (a block), "body" (the last one), "conv_after_body" (with the long skip in it, as
    in BasicSR's class, which adds in place), "upsample".
    """

    def __init__(self, num_in_ch=3, num_out_ch=3, num_feat=64, num_block=16, upscale=4, res_scale=1.0, img_range=255.0,
                 rgb_mean=(0.4488, 0.4371, 0.4040)):
        super().__init__()
        self.img_range = img_range
        self.register_buffer("mean", torch.tensor(rgb_mean).view(1, 3, 1, 1), persistent=False)
        self.conv_first = nn.Conv2d(num_in_ch, num_feat, 3, 1, 1)
        self.body = nn.Sequential(*[ResidualBlock(num_feat, res_scale) for _ in range(num_block)])
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        steps, left = [], upscale
        while left > 1 and left % 2 == 0:
            steps.append(2)
            left //= 2
        if left == 3 and not steps:
            steps, left = [3], 1
        if left != 1:
            raise ValueError(f"upscale is {upscale}; 3 and the powers of 2 there are")
        layers = []
        for s in steps:
            layers += [nn.Conv2d(num_feat, num_feat * s * s, 3, 1, 1), nn.PixelShuffle(s)]
        self.upsample = nn.Sequential(*layers)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, 1, 1)

    def forward(self, x):
        mean = self.mean.to(x)
        x = self.conv_first((x - mean) * self.img_range)
        res = self.conv_after_body(self.body(x))
        res += x
        return self.conv_last(self.upsample(res)) / self.img_range + mean


class VGG19(nn.Module):
    """The convolutions of Simonyan and Zisserman's network (2015, configuration E), a feature extractor: network "features".

    x: N x 3 x H x W, sides of 16 or more, values in [0, 1]. Layers to tap: "features.N", numbered as in torchvision's vgg19, whose
    weights fit (``load`` passes its classifier over). A convolution's is the map before its ReLU. The fifth pooling is left out:
    nothing reads it. img_range: factor of the values before anything else. use_input_norm: takes ImageNet's mean off and divides by
    its deviation; CSD's authors do not, and feed 0 to 255 (img_range=255).
    """

    def __init__(self, use_input_norm=True, img_range=1.0):
        super().__init__()
        self.img_range, self.use_input_norm = img_range, use_input_norm
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        layers, channels = [], 3
        for stage, (width, count) in enumerate([(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]):
            if stage:
                layers.append(nn.MaxPool2d(2, 2))
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, 1, 1), nn.ReLU()]  # not in place: the convolution's map may be tapped
                channels = width
        self.features = nn.Sequential(*layers)

    def forward(self, x):
        if self.img_range != 1:
            x = x * self.img_range
        if self.use_input_norm:
            x = (x - self.mean.to(x)) / self.deviation.to(x)
        return self.features(x)

    def load(self, weights):
        """A state dict of torchvision's vgg19, or of its ``features`` alone."""
        self.load_state_dict({k: v for k, v in weights.items() if not k.startswith("classifier.")})


def build(text, scale, seed):
    """A network of a command line's words, [MODULE:CLASS,]KEY=VALUE,...: an EDSR, or a class of the user's."""
    parts = [t for t in text.split(",") if t]
    path = parts.pop(0) if parts and "=" not in parts[0] else "dukd.models:EDSR"
    module, _, name = path.partition(":")
    torch.manual_seed(seed)
    return getattr(importlib.import_module(module), name)(upscale=scale, **dict(key_and_value(t) for t in parts))


def load_weights(net, path):
    """A file of weights, .pth or .safetensors, as they are or under params_ema or params."""
    if str(path).endswith(".safetensors"):
        from safetensors.torch import load_file
        found = load_file(path)
        for prefix in ("params_ema.", "params."):
            if any(k.startswith(prefix) for k in found):
                found = {k[len(prefix):]: v for k, v in found.items() if k.startswith(prefix)}
    else:
        found = torch.load(path, map_location="cpu", weights_only=True)
        found = found.get("params_ema", found.get("params", found))
    net.load_state_dict(found)
