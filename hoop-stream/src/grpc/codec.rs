//! Messages of the stream, where an encoded record passes as it is.

use bytes::{BufMut as _, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, message};
use tonic::Status;
use tonic::codec::{BufferSettings, EncodeBuf};
use tonic_prost::ProstCodec;

use super::proto::{Gone, Heartbeat, StreamRequest};

/// `StreamResponse`.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// An encoded `Record`.
    Record(Bytes),
    /// Nothing else to send.
    Heartbeat(Heartbeat),
    /// Records are missing.
    Gone(Gone),
}

/// Encodes `StreamResponse`, decodes `StreamRequest`.
#[derive(Debug, Default)]
pub struct Codec;

impl tonic::codec::Codec for Codec {
    type Encode = Response;
    type Decode = StreamRequest;
    type Encoder = Encoder;
    type Decoder = <ProstCodec<StreamRequest, StreamRequest> as tonic::codec::Codec>::Decoder;

    fn encoder(&mut self) -> Encoder {
        Encoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<StreamRequest, StreamRequest>::raw_decoder(BufferSettings::default())
    }
}

/// Encodes `StreamResponse`.
#[derive(Debug)]
pub struct Encoder;

impl tonic::codec::Encoder for Encoder {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match response {
            Response::Record(record) => {
                encode_key(1, WireType::LengthDelimited, to);
                encode_varint(record.len() as u64, to);
                to.put(record);
            }
            Response::Heartbeat(heartbeat) => message::encode(2, &heartbeat, to),
            Response::Gone(gone) => message::encode(3, &gone, to),
        }
        Ok(())
    }
}
