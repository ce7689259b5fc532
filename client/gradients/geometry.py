"""How a two-dimensional convolution lays its kernel on an image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A convolution's shape.

    Args:
        kernel: shape of its weight, [O, C / groups, rows, columns].
        stride: pixels between two positions, down and right.
        padding: rows and columns of zeros on either side of the image.
        dilation: pixels between two of the kernel's elements.
        groups: independent parts of the channels.
    """

    kernel: tuple[int, int, int, int]
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def kernel_sum(self, images: Tensor, backprops: Tensor) -> Tensor:
        """Return the gradient of the kernel summed over a batch, [O, C / groups, rows, columns].

        Args:
            images: the input, [b, C, H, W].
            backprops: gradient of the output, [b, O, H', W'].
        """
        summed: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            *(images, self.kernel, backprops), self.stride, self.padding, self.dilation, self.groups
        )
        return summed

    def kernel_of_each(self, images: Tensor, backprops: Tensor) -> Tensor:
        """Return the gradient of the kernel for each record, [b, O, C / groups, rows, columns].

        The records become groups of one wide image, so that the library's own convolution does the work.
        """
        records, (filters, *rest) = len(images), self.kernel
        gradient: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            images.reshape(1, -1, *images.shape[2:]),
            (records * filters, *rest),
            backprops.reshape(1, -1, *backprops.shape[2:]),
            *(self.stride, self.padding, self.dilation, records * self.groups),
        )
        return gradient.view(records, *self.kernel)


def laid_out(layer: nn.Conv2d, images: Tensor) -> tuple[Geometry, Tensor]:
    """Return a layer's geometry and the images that it sees, padded where zeros on both sides will not do."""
    padding = even_zeros(layer)
    if padding is None:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        images, padding = functional.pad(images, _margins(layer), mode=mode), (0, 0)
    (rows, columns), (down, right), (apart, aside) = layer.kernel_size, layer.stride, layer.dilation
    geometry = Geometry(
        kernel=(layer.out_channels, layer.in_channels // layer.groups, rows, columns),
        stride=(down, right),
        padding=padding,
        dilation=(apart, aside),
        groups=layer.groups,
    )
    return geometry, images


def even_zeros(layer: nn.Conv2d) -> Pair | None:
    """Return the rows and columns of zeros on either side of an image; None where it is padded otherwise."""
    left, right, top, bottom = _margins(layer)
    if layer.padding_mode != "zeros" or left != right or top != bottom:
        return None
    return top, left


def _margins(layer: nn.Conv2d) -> list[int]:
    """Return the pixels added left, right, above and below; "same" adds the odd one right and below."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if layer.padding == "same":
        whole = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [whole[1] // 2, whole[1] - whole[1] // 2, whole[0] // 2, whole[0] - whole[0] // 2]
    vertical, horizontal = (int(pixels) for pixels in layer.padding)
    return [horizontal, horizontal, vertical, vertical]


def is_simple(layer: nn.Conv2d) -> bool:
    """Return whether filters see all channels, in pixels side by side, and padding is by even zeros."""
    return layer.groups == 1 and layer.dilation == (1, 1) and even_zeros(layer) is not None


def padded(images: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return images with a layer's zeros around them.

    Raises:
        ValueError: when the images are not of the layer's channels.
    """
    if images.dim() != 4 or images.shape[1] != layer.in_channels:
        raise ValueError(f"images of size {[*images.shape]} are not [b, {layer.in_channels}, H, W]")
    rows, columns = even_zeros(layer) or (0, 0)
    return functional.pad(images, [columns, columns, rows, rows]) if rows or columns else images


def cropped(images: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return images without the zeros that `padded` lays around them."""
    rows, columns = even_zeros(layer) or (0, 0)
    return images[:, :, rows : images.shape[2] - rows, columns : images.shape[3] - columns]


def channels_last(images: Tensor) -> Tensor:
    """Return images [b, C, H, W] as [b, H, W, C], in memory too."""
    return images.permute(0, 2, 3, 1).contiguous()


def channels_first(images: Tensor) -> Tensor:
    """Return [..., H, W, C] as [..., C, H, W], in memory as they are."""
    return images.movedim(-1, -3)
