"""Which codec a content type stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codecs import InputCodec, RequestCodec

__all__ = [
    "CodecRegistry",
    "codec_registry",
    "find_input_codec",
    "find_input_codec_by_payload",
    "find_request_codec",
    "find_request_codec_by_payload",
    "register_input_codec",
    "register_request_codec",
]


class CodecRegistry:
    """Codecs of tensors, and codecs of whole requests, by content type."""

    def __init__(
        self,
        input_codecs: Mapping[str, type[InputCodec]] | None = None,
        request_codecs: Mapping[str, type[RequestCodec]] | None = None,
    ) -> None:
        self.input_codecs = dict(input_codecs or {})
        self.request_codecs = dict(request_codecs or {})

    def register_input_codec(self, content_type: str, codec: type[InputCodec]) -> None:
        """Adds a codec of tensors under this content type."""
        self.input_codecs[content_type] = codec

    def register_request_codec(self, content_type: str, codec: type[RequestCodec]) -> None:
        """Adds a codec of whole requests under this content type."""
        self.request_codecs[content_type] = codec

    def find_input_codec(
        self, content_type: str | None = None, payload: Any = None
    ) -> type[InputCodec] | None:
        """The codec of this content type; else the first that can encode this payload."""
        if content_type:
            return self.input_codecs.get(content_type)
        return None if payload is None else self.find_input_codec_by_payload(payload)

    def find_input_codec_by_payload(self, payload: Any) -> type[InputCodec] | None:
        """The first codec that can make a tensor of this."""
        codecs = self.input_codecs.values()
        return next((codec for codec in codecs if codec.can_encode(payload)), None)

    def find_request_codec(
        self, content_type: str | None = None, payload: Any = None
    ) -> type[RequestCodec] | None:
        """The codec of this content type; else the first that can encode this payload."""
        if content_type:
            return self.request_codecs.get(content_type)
        return None if payload is None else self.find_request_codec_by_payload(payload)

    def find_request_codec_by_payload(self, payload: Any) -> type[RequestCodec] | None:
        """The first codec that can make a request of this."""
        codecs = self.request_codecs.values()
        return next((codec for codec in codecs if codec.can_encode(payload)), None)


codec_registry = CodecRegistry()
"""The codecs that are asked."""

find_input_codec = codec_registry.find_input_codec
find_input_codec_by_payload = codec_registry.find_input_codec_by_payload
find_request_codec = codec_registry.find_request_codec
find_request_codec_by_payload = codec_registry.find_request_codec_by_payload


def register_input_codec(codec: type[InputCodec]) -> type[InputCodec]:
    """Adds a codec under its content type; a decorator of its class."""
    for name in (codec.ContentType, *codec.Names):
        codec_registry.register_input_codec(name, codec)
    return codec


def register_request_codec(codec: type[RequestCodec]) -> type[RequestCodec]:
    """Adds a codec of whole requests under its content type; a decorator of its class."""
    codec_registry.register_request_codec(codec.ContentType, codec)
    return codec
