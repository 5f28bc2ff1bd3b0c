"""Networks that the trainer has itself. Names, shapes and defaults are BasicSR's, so that its checkpoints fit."""
import torch
from torch import nn
from torch.nn import functional as F


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
