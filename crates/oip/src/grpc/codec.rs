//! Messages of the stubs in and out of their bytes.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Buf;
use oip_protocol::DecodeLimits;
use oip_protocol::proto::guard::{self, Guarded};
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::respond;
use crate::door::Door;

/// Where buffers begin. They grow with the message, and one that is small fits.
const BUFFER: usize = 4 << 10;
/// How much of a stream's answers is gathered before it is sent.
const GATHERED: usize = 32 << 10;

tokio::task_local! {
    /// The door that a message is decoded for: codecs are made where it is not at hand.
    pub(super) static DOOR: Arc<Door>;
}

/// Protobuf, looked over before it is decoded. A message that is none is the caller's fault.
pub(super) struct ProtobufCodec<T, U>(PhantomData<fn() -> (T, U)>);

impl<T, U> Default for ProtobufCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ProtobufCodec<T, U>
where
    T: Message + 'static,
    U: Message + Guarded + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = MessageEncoder<T>;
    type Decoder = MessageDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

pub(super) struct MessageEncoder<T>(PhantomData<fn() -> T>);

impl<T: Message> Encoder for MessageEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        message
            .encode(buffer)
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, GATHERED)
    }
}

pub(super) struct MessageDecoder<U>(PhantomData<fn() -> U>);

impl<U: Message + Guarded + Default> Decoder for MessageDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // A message lies in one piece.
        if buffer.chunk().len() != buffer.remaining() {
            return Err(Status::internal("a message lies in pieces"));
        }
        let looked = DOOR.try_with(|door| guard::check::<U>(buffer.chunk(), &door.options.decode));
        let looked = match looked {
            Ok(looked) => looked,
            Err(_) => guard::check::<U>(buffer.chunk(), &DecodeLimits::default()),
        };
        looked.map_err(|error| respond::status(&error.into()))?;
        match U::decode(buffer) {
            Ok(message) => Ok(Some(message)),
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        }
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, GATHERED)
    }
}
